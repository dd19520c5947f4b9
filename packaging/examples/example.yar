// Copy it to /etc/fdbroker/rules.d, then: systemctl reload fdbroker
rule example_marker {
    meta:
        description = "The words that a test file of this installation contains"
    strings:
        $words = "fdbroker example: please find me" ascii
    condition:
        $words
}
