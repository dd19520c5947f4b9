// Regular expressions, as patterns and in conditions.

rule Re_Url { strings: $a = /https?:\/\/[\w.-]{4,40}\/[\w\/.-]*/ nocase condition: #a >= 2 }

rule Re_Mail { strings: $a = /[a-z0-9._-]{2,20}@[a-z0-9-]{2,20}\.(org|com|net)/ condition: $a }

rule Re_Version { strings: $a = /\b[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,3}\b/ condition: #a > 2 }

rule Re_LineStart { strings: $a = /(^|\n)\s{0,4}#[^\n]{0,80}\n/ condition: $a in (0..400) }

rule Re_Wide { strings: $a = /[A-Z]{3,9}/ wide condition: $a }

rule Re_Greedy { strings: $a = /<[a-z]+( [a-z]+="[^"]*")*>/ condition: $a }

rule Re_Lazy { strings: $a = /\/\*.{0,300}?\*\//s condition: $a }

rule Re_Name { condition: filename matches /^[a-m]/i }
