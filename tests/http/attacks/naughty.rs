//! Texts that break programs.

/// Each has broken something somewhere: markup, queries, shells, templates, encodings, terminals, fonts.
pub const TEXTS: &[&str] = &[
    "", " ", "  ", "\t", "\n", "\r\n", "undefined", "null", "NULL", "None", "nil", "true", "NaN", "Infinity", "-1", "0", "1e309",
    "0x10", "08", "1/0", "2147483648", "9223372036854775808", "123456789012345678901234567890", "1,000.00", "１２３", "½", "٠١٢",
    "Ω≈ç√∫˜µ≤≥÷", "åß∂ƒ©˙∆˚¬…æ", "ЁЂЃЄЅІЇ", "田中さんにあげて下さい", "사회과학원", "مُنَاقَشَة", "בְּרֵאשִׁית", "Ⱥ", "ﬀ", "ẞ", "İı", "K", "ſ", "Å",
    "e\u{301}", "\u{e9}", "Z\u{334}\u{321}\u{349}a\u{322}l\u{338}g\u{337}o\u{336}", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏿", "🇺🇸🇷", "\u{1F4A9}", "\u{202E}test\u{202C}",
    "\u{2066}x\u{2069}", "\u{200B}", "\u{200D}", "\u{FEFF}x", "\u{2028}", "\u{2029}", "\u{85}", "\u{A0}", "\u{AD}", "\u{FFFD}", "\u{FFFE}",
    "\u{FFFF}", "\u{10FFFF}", "\u{E000}", "\u{E0041}", "\u{0}", "a\u{0}b", "\u{1}", "\u{7}", "\u{8}", "\u{1B}[31mred\u{1B}[0m", "\u{7F}", "\u{9B}2J",
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "javascript:alert(1)", "<svg/onload=alert(1)>", "&lt;b&gt;", "</title>",
    "<!--", "]]>", "<!DOCTYPE x [<!ENTITY y SYSTEM \"file:///etc/passwd\">]>", "' OR 1=1--", "'; DROP TABLE users; --", "\\'; --", "%' --", "1;SELECT pg_sleep(10)",
    "' UNION SELECT password_hash FROM users --", "$1", "?1", ":id", "%s%s%s%n", "%d", "{0}", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{% raw %}", "{{constructor.constructor('x')()}}",
    "$(touch /tmp/x)", "`id`", "| id", "&& id", "; id", "../../../etc/passwd", "..\\..\\windows", "file:///etc/passwd", "/dev/null", "CON", "NUL", "a/b", "a\\b",
    "http://169.254.169.254/", "a\r\nSet-Cookie: x=1", "a%0d%0ab", "x\n{\"level\":\"info\",\"msg\":\"admin ok\"}", "() { :;}; echo", "__proto__", "constructor", "toString",
    "Scunthorpe", "Penistone", "jessie@x.test", "=1+1", "@SUM(A1)", "+1", "-2+3", "\"quoted\"", "'single'", "back\\slash", "\\u0000", "\\x00", "&#0;", "%00",
];
