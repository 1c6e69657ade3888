use super::*;

mod commonmark;
mod kinds;

/// Markdown, and the text to be spoken.
const MARKDOWN: &[(&str, &str)] = &[
    ("**Note.** Read this.", "Note. Read this."),
    ("See [the guide](https://example.com/x.y). Ok.", "See the guide. Ok."),
    ("**bold** text.", "bold text."),
    ("3 * 4 is 12.", "3 * 4 is 12."),
    ("👍", ""),
    ("", ""),
    ("Plain text, (nothing) [more] than that!", "Plain text, (nothing) [more] than that!"),
    ("*a* _b_ __c__ ***d*** ~~e~~ ~5", "a b c d e ~5"),
    ("3*4, 2**10, snake_case_name, _so_.", "3*4, 2**10, snake_case_name, so."),
    ("Run `cargo *test*` now", "Run cargo *test* now"),
    ("It was cut [...] and [sewn].", "It was cut [...] and [sewn]."),
    ("A [**bold** link](u \"t\") and ![a cat](c.png)!", "A bold link and a cat!"),
    ("[![badge](b.svg)](https://x.y/z_(q)) ok", "badge ok"),
    ("See [this][1] and that[^2].", "See this and that."),
    ("[[nested](x)] [open", "[nested] [open"),
    ("# Title\nText", "Title\u{2029}\nText"),
    ("Text\n## Part ##", "Text\n\nPart"),
    ("#hashtag and C# and #1", "#hashtag and C# and #1"),
    ("- Milk\n- Bread", "Milk\n\u{c}Bread"),
    ("* one\n  + two", "one\n\u{c}two"),
    ("- [ ] open\n* [x] done", "open\n\u{c}Done: done"),
    ("-5 degrees\n--flag", "-5 degrees\n--flag"),
    ("1. Wash\n2. Dry", "1. Wash\n2. Dry"),
    ("1. [x] Wash\n2) [ ] dry", "1. Done: Wash\n2) dry"),
    ("Hello😀world", "Hello world"),
    ("a\n\n---\n\nb", "a\n\nb"),
    ("a\n* * *\nb", "a\n\nb"),
    ("Title\n=====\nText", "Title\n\u{2029}Text"),
    ("> Quoted\n> > twice", "Quoted\n\u{c}twice"),
    ("a\n```rust\nlet x = `1`;\n\n```\nb", "a\n\nb"),
    ("~~~\n```\n~~~\nb", "b"),
    ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a, b\n\u{c}1, 2"),
    ("1 \\* 2 and C:\\dir", "1 * 2 and C:\\dir"),
    ("a<br/>b <b>c</b>. If 5 < 10 > 3", "a\nb c. If 5 < 10 > 3"),
    ("<https://example.org> <a@b.c>", "example.org a@b.c"),
    ("Done. 😀 Next 👩\u{200d}💻👍🏽 one. 🇳🇴", "Done. Next one. "),
    ("क्\u{200d}ष stays", "क्\u{200d}ष stays"),
    ("Hi\r\nthere", "Hi\nthere"),
    ("Wow! [x", "Wow! [x"),
    ("a * b", "a * b"),
    ("trailing *", "trailing *"),
    // Fences in containers.
    ("> ```\n> x\n> ```\n\nAfter.", "After."),
    ("> ```\n> x\n\nAfter.", "After."),
    ("> ```\n> x\nAfter.", "After."),
    ("- ```js\n  x\n  ```\n\nAfter.", "After."),
    ("- ```js\n  x\n```\n\nAfter.", "After."),
    ("- ```js\n  x\n\nAfter.", "After."),
    ("1. ```js\n   x\n   ```\n\nAfter.", "After."),
    ("1. Do:\n\n   ```js\n   x\n   ```\n2. After.", "1. Do:\n\u{c}\n2. After."),
    ("- a\n  - b\n\n    ```\n    x\n    ```\n  - c\n\nAfter.", "a\n\u{c}b\n\u{c}\nc\n\u{c}\nAfter."),
    ("> - ```\n>   x\n>\n>   y\n>   ```\n> After.", "After."),
    (">> ```\n>> x\n> After.", "After."),
    ("````\n```\nx\n```\n````\n\nAfter.", "After."),
    ("```\nx\n``\n~~~\n````\nAfter.", "After."),
    ("~~~~ md `x`\nx\n~~~\ny\n~~~~~\nAfter.", "After."),
    ("``` no `fence` here\nAfter.", "``` no fence here\nAfter."),
    ("    x = 1\n\nAfter.", "x = 1\n\nAfter."),
    ("Text\n    ```\nmore", "Text\n```\nmore"),
    ("```\nx\n    ```\ny\n```\nAfter.", "After."),
    ("Text ```not a fence``` after.", "Text not a fence after."),
    ("```\nx", ""),
    ("-\n  After.", "After."),
    ("- a\n\n  b\n\nc", "a\n\u{c}\nb\n\u{c}\nc"),
    // Angle brackets.
    ("Press <Ctrl+C> or <Enter> now.", "Press <Ctrl+C> or <Enter> now."),
    ("Hold <Select> and <Menu>.", "Hold <Select> and <Menu>."),
    (
        "Aria falls. <Quest failed: 8 hours left; Accept / Decline> Go on.",
        "Aria falls. <Quest failed: 8 hours left; Accept / Decline> Go on.",
    ),
    ("A Vec<String> and a HashMap<K, V>.", "A Vec<String> and a HashMap<K, V>."),
    ("if a < b and c > d", "if a < b and c > d"),
    ("I <3 you. x<y. <> <-- -->", "I <3 you. x<y. <> <-- -->"),
    ("<em title=\"a > b\">So</em> <A HREF='x'>it</A> is.", "So it is."),
    ("An <em unclosed tag", "An <em unclosed tag"),
    ("An <!-- unclosed comment", "An <!-- unclosed comment"),
    ("A <!-- secret\n1 > 0 --> word.<?php x ?><!DOCTYPE html>", "A word."),
    ("<!--\n\nsecret\n\n- a\n\n-->\n\nWord.", "Word."),
    ("<![CDATA[a < b]]> c", "a < b c"),
    ("<p align=\"center\">One</p><p>Two</p>", "One\n\nTwo\n\n"),
    ("A <img src=\"x.png\" alt=\"red &amp; blue fox\"/>.", "A red & blue fox ."),
    ("<details><summary>More</summary>\n\nText\n</details>", "More\n\nText\n\n"),
    // Leftovers of markup.
    ("Fish &amp; chips &ndash; &pound;9", "Fish & chips – £9"),
    ("&#8364;5 &#x20AC;6 &nbsp;&unknown; AT&T; R&D &amp &", "€5 €6 &unknown; AT&T; R&D &amp &"),
    ("&lt;b&gt;x&lt;/b&gt; &#42;a&#42;", "<b>x</b> *a*"),
    ("Docs: https://example.com/a/b?c=1.", "Docs: example.com."),
    ("See (https://www.example.com/a_(b)), www.example.org!", "See (example.com), example.org!"),
    ("**https://example.com/a**, `http://localhost:80/x`", "example.com, localhost"),
    ("[https://example.com/a](https://example.com/a)", "example.com"),
    ("See [this][1].\n\n[1]: https://example.com", "See this.\n\n"),
    ("[a]: <data:image/png;base64,AAAA>\n[b]: /x \"A title\"\n[c]: #c\n'title'\nText [a].", "Text [a]."),
    ("[Ann]: Yes.\n\n[12:30]: we left", "[Ann]: Yes.\n\n[12:30]: we left"),
    ("[open https://example.com\nnext", "[open example.com\nnext"),
    ("A[^1] b.[^note]\n\n[^1]: The note.\n    More.\n\n    More.\n[^note]: Other.\n\nText.", "A b.\n\nText."),
    ("by a tonne.[4][5] Next", "by a tonne. Next"),
    ("blue[4] sky,[12] so[1] (1999)[3]", "blue sky, so[1] (1999)"),
    ("word[1, 2] word[1–3] word.[note 3] word.[a]", "word word word. word."),
    ("word.[[4]](https://x.y) word.[5](https://x.y)", "word. word."),
    ("arr[4][5] and a[1] and x_y[2] and list[0]", "arr[4][5] and a[1] and x_y[2] and list[0]"),
    ("see [4] for more", "see [4] for more"),
    ("a[i][j], [Yes][No], [the docs][docs], [Rust][], [Go][go]", "a[i][j], [Yes][No], the docs, Rust, Go"),
    ("So it is.¹² And 5² is 25【4†source】.", "So it is. And 5² is 25."),
    ("A <script>var x = 'b';\nvar y;</script> c", "A c"),
    ("<script src=\"x\">\n\nvar x;\n\n</script>\n\nText", "Text"),
    ("<style>\np { color: red }\n\nq {}\n</style>\nText", "Text"),
    ("Use the <script> tag.\n\nMore.", "Use the <script> tag.\n\nMore."),
    ("![A cat](data:image/png;base64,iVBORw0KGgo=) purrs", "A cat purrs"),
    ("Look: data:image/png;base64,iVBORw0KGgo=. The data: it", "Look: . The data: it"),
    (
        "Name | Age\n--- | ---\nBob | 5\nEve | `a|b`\n\nText | more",
        "Name, Age\n\u{c}Bob, 5\n\u{c}Eve, a|b\n\u{c}\nText | more",
    ),
    ("a|b\n:-|-:\n1|2", "a, b\n\u{c}1, 2"),
    ("| a \\| b | |\n|--|--|\n| c |", "a | b\n\u{c}c"),
    ("x | y\nz", "x | y\nz"),
    ("It costs $5 and $10, $$x_1$$.", "It costs $5 and $10, $$x_1$$."),
    // Runs of marks.
    ("Name: ________ Date: ____", "Name: Date: "),
    ("a ==== b ---- c #### d", "a b c d"),
    ("a * * * b", "a b"),
    ("~~~~ a", ""),
    ("Chapter 1 .......... 12", "Chapter 1 .... 12"),
    ("===\n___\n_ _ _\n────\nEnd", "End"),
    ("a -- b --- c = d == e", "a -- b --- c = d == e"),
];

/// A page, and the text to be spoken.
const PAGES: &[(&str, &str)] = &[
    ("<p>One <b>bo</b>ld\n  word.</p><p>Two</p>", "One bold word.\n\nTwo\n\n"),
    ("<h1>Title</h1>Text<br>more<hr>end", "Title\u{2029}\nText\nmore\n\nend"),
    ("Fish &amp; chips &copy 2024 &lt;b&gt; AT&T", "Fish & chips © 2024 <b> AT&T"),
    ("<head><title>T</title><style>p{}</style></head><body>Hi</body>", "Hi\n\n"),
    ("<head><title>T</title><body>Hi", "Hi"),
    ("a<script>if (a<b) {}</script>b<svg><text>x</text></svg>c<!-- d > -->e", "abce"),
    ("<script>x", ""),
    ("<template>kept in doubt", "<template>kept in doubt"),
    (
        "<table><tr><th>Name</th><th>Age</th></tr><tr><td><p>Bob</p></td><td>5</td></tr></table>End",
        "Name, Age\u{c}Bob, 5\u{c}\nEnd",
    ),
    ("<td><p>One.</p><p>Two.</p></td>", "One.\n\nTwo."),
    ("<ul><li>Milk<li>Bread</ul>", "Milk\u{c}Bread\n\n"),
    ("<img src=\"data:image/png;base64,AAAA\" alt='A cat'> purrs", "A cat purrs"),
    (
        "<a href=\"https://example.com\">https://example.com/a</a> *so* `it` [is]",
        "example.com *so* `it` [is]",
    ),
    ("Press <Enter> and <my-tag>go</my-tag>", "Press <Enter> and go"),
    ("tonne.<sup><a href=\"#c\">[4]</a></sup> Next", "tonne. Next"),
    ("<pre>one\n  two</pre>three\nfour", "one\ntwo\n\nthree four"),
    ("<button>Yes</button><button>No</button>", "Yes No "),
    ("<p>a <!-- unclosed", "a <!-- unclosed"),
];

fn clean<'a>(mut cleaner: Cleaner, fragments: impl IntoIterator<Item = &'a str>) -> Sourced {
    let mut out = Sourced::default();
    for fragment in fragments {
        cleaner.push(fragment, &mut out);
        assert!(cleaner.memory_bytes() < 256 * 1024, "{}", cleaner.memory_bytes());
    }
    cleaner.finish(&mut out);
    out
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
}

fn cases() -> impl Iterator<Item = (Cleaner, &'static str, &'static str)> {
    let markdown = MARKDOWN.iter().map(|(text, expected)| (Cleaner::markdown(None), *text, *expected));
    markdown.chain(PAGES.iter().map(|(text, expected)| (Cleaner::html(), *text, *expected)))
}

#[test]
fn cases_are_the_same_cut_anywhere() {
    let mut wrong = Vec::new();
    for (cleaner, text, expected) in cases() {
        let whole = clean(cleaner.clone(), [text]);
        if whole.text != expected {
            wrong.push(format!("{text:?}\n  is       {:?}\n  expected {expected:?}", whole.text));
            continue;
        }
        assert_eq!(clean(cleaner.clone(), characters(text)), whole, "{text:?} by character");
        for (at, _) in text.char_indices() {
            assert_eq!(clean(cleaner.clone(), [&text[..at], &text[at..]]), whole, "{text:?} cut at {at}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mixtures_are_the_same_cut_anywhere() {
    for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
        let all: Vec<&str> = cases().map(|(_, text, _)| text).collect();
        for separator in ["", " ", "\n", "\n\n", "[", "`", "*", "<b", "!", "<a b=\"", "](", "&", "> ", "\n- "]
        {
            let text = all.join(separator);
            assert_eq!(
                clean(cleaner.clone(), characters(&text)),
                clean(cleaner.clone(), [text.as_str()]),
                "{separator:?}"
            );
        }
    }
}

/// Texts made to be read over and over.
const HOSTILE: &[&str] = &[
    "[",
    "[a",
    "<a",
    "*",
    "_ ",
    "`",
    "!",
    "![",
    "](",
    "\\",
    "#",
    "-",
    "- ",
    ">",
    "|",
    "~",
    "[a](",
    "[a][",
    "* ",
    "> ",
    "- - ",
    "1. ",
    "` `` ",
    "``` ",
    "<a b=\"",
    "<a b='<c d=\"",
    "<!-- ",
    "<![CDATA[",
    "<script>",
    "<svg>",
    "&a",
    "&#",
    "https://",
    "https://a.b/",
    "www.",
    "data:image/",
    "data:image/png;base64,",
    "[a](b",
    "[a](b (c",
    "[a](b \"",
    "[a]: b\n",
    "[^a]: ",
    "a | b ",
    "a | b\n",
    "| a\n",
    "【4",
    "<p>",
    "<td>",
    "<img alt=\"",
    "[a](((",
    "\t",
    "> ```\n",
    "- ```\n",
    "a\n",
    "\r",
    "&amp;",
    "<b>",
    "=",
    "....",
    "_ _ ",
    "[^1]",
    "![a](data:,",
    "[a](<b ",
    "[[[]]",
];

#[test]
fn hostile_text_takes_linear_work_and_bounded_memory() {
    for pattern in HOSTILE {
        for mut cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            let text = pattern.repeat(40_000 / pattern.len());
            let mut out = Sourced::default();
            let mut most = 0;
            for (n, c) in characters(&text).enumerate() {
                cleaner.push(c, &mut out);
                if n % 64 == 0 {
                    most = most.max(cleaner.memory_bytes());
                }
            }
            cleaner.finish(&mut out);
            assert!(most < 200_000, "{pattern:?}: {most} bytes");
            assert!(cleaner.inline.work < 12 * text.len() + 10_000, "{pattern:?}: {}", cleaner.inline.work);
            assert!(out.text.len() <= text.len() * 2, "{pattern:?}");
        }
    }
}

#[test]
fn flush_allows_more_text() {
    for (fragments, expected) in [
        (&["One ", "*two", "*\n", "- three"][..], "One two\n\u{c}three"),
        (&["![A cat](data:image/png;", "base64,AAAA", "AAAA) purrs"], "A cat purrs"),
        (&["See data:image/png;base64,AAAA", "AAAA now"], "See now"),
        (&["Docs: https://example.com/a", "/b?c. Next"], "Docs: example.com. Next"),
        (&["Docs: https://example.com.", " Next"], "Docs: example.com. Next"),
        (&["```\nx", "\ny\n", "```\nAfter."], "After."),
        (&["An <em ", "x"], "An <em x"),
        (&["A <img src=\"x", "y\"> b"], "A b"),
        (&["- ", "item"], "item"),
        (&["--", "flag"], "--flag"),
        (&["[a", "b](c) d"], "[ab d"),
        (&["Ann &am", "p; Bob"], "Ann &amp; Bob"),
    ] {
        let (mut cleaner, mut out) = (Cleaner::markdown(None), Sourced::default());
        for fragment in fragments {
            cleaner.push(fragment, &mut out);
            cleaner.flush(&mut out);
        }
        assert_eq!(out.text, expected, "{fragments:?}");
    }
}

#[test]
fn long_markup_is_dropped_to_its_end() {
    let data = "A".repeat(100_000);
    for (text, expected) in [
        (format!("![A cat](data:image/png;base64,{data}) purrs"), "A cat purrs"),
        (format!("[a]: data:image/png;base64,{data}\n\nText"), "Text"),
        (format!("<img src=\"data:image/png;base64,{data}\" alt=\"A cat\"> purrs"), "A cat purrs"),
        (format!("<a href='x' title=\"{}\">word</a> b", "a b > ".repeat(9_000)), "word b"),
        (format!("See data:image/png;base64,{data}. End"), "See . End"),
        (format!("See https://example.com/{data}. End"), "See example.com. End"),
        (format!("A <script>{}</script> b", "x < y; ".repeat(9_000)), "A b"),
        (format!("A <!-- {} --> b", "x > y ".repeat(9_000)), "A b"),
        (format!("```\n{}\n```\nEnd", "code\n".repeat(9_000)), "End"),
        (format!("A {} b", "_".repeat(9_000)), "A b"),
    ] {
        for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            if cleaner.markdown.is_none() && !text.contains('<') {
                continue;
            }
            let out = clean(cleaner, characters(&text));
            assert_eq!(out.text, expected, "{}", &text[..40]);
        }
    }
}

#[test]
fn characters_know_their_source() {
    for (cleaner, text, _) in cases() {
        let out = clean(cleaner, [text]);
        let units: Vec<u16> = text.encode_utf16().collect();
        let (mut last, mut before) = (0, None);
        for (c, span) in out.chars() {
            assert!(last <= span.start && span.end() <= units.len() as u64, "{text:?}: {c:?} {span:?}");
            let source = String::from_utf16(&units[span.start as usize..span.end() as usize]).unwrap();
            let is_copy = source.starts_with(c) || source.ends_with(c);
            let is_replaced = c.is_whitespace()
                || source.starts_with('&')
                || source.contains(':')
                || source.contains("www");
            // The comma between cells has the place of the character before it.
            let is_cell = source.starts_with('<') && c != ',' || c == ',' && before == Some(span);
            let is_exponent = source.chars().all(|c| c.is_ascii_digit()) && "⁰¹²³⁴⁵⁶⁷⁸⁹".contains(c);
            let is_task = matches!(source.as_str(), "[x]" | "[X]") && "Done:".contains(c);
            assert!(
                is_copy || is_replaced || is_cell || is_exponent || is_task,
                "{text:?}: {c:?} is {source:?}"
            );
            (last, before) = (span.start, Some(span));
        }
    }
}

/// Markup without an end is text, however long what follows it is.
#[test]
fn text_behind_long_markup_without_an_end_is_kept() {
    let prose = "One more word. ".repeat(400);
    for begin in ["Start <title> ", "Start <video src=x> ", "Start <a href=\"x\" ", "Start <p class=x "] {
        let mut cleaner = Cleaner::markdown(None);
        let mut out = Sourced::default();
        cleaner.push(&format!("{begin}{prose}The end."), &mut out);
        cleaner.finish(&mut out);
        let spoken = out.text.matches("One more word.").count();
        assert!(spoken == 400 && out.text.ends_with("The end."), "{begin}: {spoken}");
    }
}

/// So is a tag that never ends, in Markdown and on a page.
#[test]
fn tag_without_an_end_is_spoken() {
    let words = "some more words of it ".repeat(200);
    for begin in ["Start here. <a href=\"", "Start here. <a href='", "Start here. <img alt=\"x\" src=\""] {
        for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            let out = clean(cleaner, characters(&format!("{begin}{words}the end")));
            let spoken = out.text.matches("some more words").count();
            assert!(spoken == 200 && out.text.ends_with("the end"), "{begin}: {spoken}");
        }
    }
}
