// Sizes, integers at offsets, rules that build on others.

private rule Hidden_Small { condition: filesize < 4KB }

private rule Hidden_Never { condition: false }

rule Cond_Small { condition: Hidden_Small }

rule Cond_Middle { condition: not Hidden_Small and filesize < 100KB }

rule Cond_Large { condition: filesize >= 100KB and not Hidden_Never }

rule Cond_Empty { condition: filesize == 0 }

rule Cond_Magic { condition: uint32(0) == 0x464c457f or uint16be(0) == 0x2321 }

rule Cond_Signed { condition: int8(0) < 0 or int16(1) < 0 }

rule Cond_Loop { condition: for all i in (0..3) : ( uint8(i) > 0x1f and uint8(i) < 0x7f ) }

rule Cond_Arithmetic { condition: filesize % 2 == 0 and (filesize \ 3) & 1 == 1 and uint8(filesize - 1) ^ 0x0a == 0 }

rule Cond_Undefined { condition: not defined uint32(filesize) }

rule Cond_Always { condition: true }

rule Cond_Never { condition: Hidden_Never }

rule Same_Name { condition: filesize > 10KB }
