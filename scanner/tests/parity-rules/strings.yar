// Text patterns and what can be asked of them.

rule Str_Interpreter { strings: $a = "#!" condition: $a at 0 }

rule Str_NoCase { strings: $a = "copyright" nocase condition: $a }

rule Str_FullWordWide { strings: $a = "error" wide ascii fullword condition: $a }

rule Str_Xor { strings: $a = "program cannot" xor(1-255) condition: $a }

rule Str_Base64 { strings: $a = "https://" base64 base64wide condition: $a }

rule Str_ManyTimes { strings: $a = "the" condition: #a > 40 }

rule Str_CountInRange { strings: $a = "e" condition: #a in (0..200) > 10 }

rule Str_Early { strings: $a = "GNU" condition: $a in (0..2048) }

rule Str_LastByte { strings: $a = "\n" condition: $a at filesize - 1 }

rule Str_TwoOf {
    strings:
        $open1 = "malloc"
        $open2 = "printf"
        $open3 = "getenv"
        $other = "zzzzzz"
    condition: 2 of ($open*) and not $other
}

rule Str_AllOfThem { strings: $a = "if" $b = "then" $c = "fi" condition: all of them }

rule Str_NoneOf { strings: $a = "\x00" $b = "\x01" condition: none of them and filesize > 0 }

rule Str_Far {
    strings: $a = "License"
    condition: for any i in (1..#a) : ( @a[i] > 500 and !a[i] == 7 )
}
