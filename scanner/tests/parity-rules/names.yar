// External variables.

rule Name_Extension { condition: extension == ".so" or extension == ".conf" or extension == ".py" }

rule Name_File { condition: filename contains "lib" and filename iendswith "S" }

rule Name_Path { condition: filepath startswith "/usr/" and not (filepath contains "bin") }

rule Name_Empty { condition: extension == "" and filetype == "" and owner == "" }

rule Name_Unknown { condition: filetype == "something" }
