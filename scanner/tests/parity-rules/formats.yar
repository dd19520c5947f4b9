import "pe"
import "elf"
import "math"
import "hash"
import "string"

rule Elf_Shared { condition: elf.type == elf.ET_DYN }

rule Elf_ManySections { condition: elf.number_of_sections > 28 }

rule Elf_Machine { condition: elf.machine == elf.EM_X86_64 or elf.machine == elf.EM_AARCH64 }

rule Elf_Segment { condition: for any segment in elf.segments : ( segment.type == elf.PT_INTERP ) }

rule Pe_Any { condition: pe.is_pe }

rule Math_Packed { condition: filesize > 512 and math.entropy(0, filesize) > 7.0 }

rule Math_Text { condition: filesize > 0 and math.mean(0, filesize) > 60.0 and math.deviation(0, filesize, math.MEAN_BYTES) < 50.0 }

rule Hash_Md5 { condition: filesize > 0 and hash.md5(0, filesize) contains "7a" }

rule Hash_Sha256 { condition: filesize >= 64 and hash.sha256(0, 64) matches /^[0-3]/ }

rule Hash_Checksum { condition: filesize > 4 and hash.checksum32(0, filesize) % 3 == 0 }

rule Hash_Empty { condition: hash.md5(0, filesize) == "d41d8cd98f00b204e9800998ecf8427e" }

rule String_Length { condition: string.length(filename) > 12 }
