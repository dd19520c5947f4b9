// Hexadecimal patterns: wildcards, jumps, alternatives, negation.

rule Hex_Elf { strings: $a = { 7F 45 4C 46 ( 01 | 02 ) ?? 01 } condition: $a at 0 }

rule Hex_Gzip { strings: $a = { 1F 8B 08 } condition: $a at 0 }

rule Hex_Jump { strings: $a = { 47 4C 49 42 43 [1-6] 2E [1-2] 00 } condition: $a }

rule Hex_LongJump { strings: $a = { 7F 45 4C 46 [16-2000] 2F 6C 69 62 } condition: $a }

rule Hex_Nibbles { strings: $a = { 4? 8? E? ?? 0? 00 } condition: #a > 5 }

rule Hex_Not { strings: $a = { 0A ~0A ~20 7D 0A } condition: $a }

rule Hex_Alternatives { strings: $a = { 55 ( 48 89 E5 | 53 | 41 5? ) [0-3] ( E8 | 48 ) } condition: $a }
