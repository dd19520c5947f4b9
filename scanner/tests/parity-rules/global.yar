// A global rule holds back the rules of its own file and of no other.

global rule Global_Text { condition: filesize > 0 and uint8(0) < 0x7f }

global private rule Global_Hidden { condition: filesize < 300KB }

rule Global_Dependent { condition: true }

rule Same_Name { condition: filesize <= 10KB }
