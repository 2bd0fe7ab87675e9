# Functions above 70 lines, and tests whose names are not unique. Reads C files.

function finding(text) {
    print FILENAME ":" FNR ": " text
}

FNR == 1 {
    function_begin = 0
    test_text = ""
}

/^[A-Za-z_].*\) \{$/ {
    function_begin = FNR
}

/^}$/ && function_begin > 0 {
    if (FNR - function_begin + 1 > 70) {
        finding("a function of " (FNR - function_begin + 1) " lines ends here (at most 70)")
    }
    function_begin = 0
}

/^(Test|ParameterizedTest|Theory)\(/ {
    test_text = " "
}

# The declaration may go on over several lines.
test_text != "" {
    test_text = test_text $0
    if (/\)/) {
        check_test(test_text)
        test_text = ""
    }
}

function check_test(text,    parts, name) {
    gsub(/[ \t]+/, " ", text)
    sub(/^ ParameterizedTest\([^,]*, */, "", text)
    sub(/^ Theory\(\([^)]*\), */, "", text)
    sub(/^ Test\( */, "", text)
    split(text, parts, / *[,)] */)
    name = parts[1] ", " parts[2]
    if (name in test_place) {
        finding("a test named (" name ") is at " test_place[name] " already")
    } else {
        test_place[name] = FILENAME ":" FNR
    }
    if (text !~ /\.timeout/) {
        finding("the test has no .timeout")
    }
}
