//! Kinds of markup, each as a table of cases that hold however the text is cut.

use super::{Cleaner, characters, clean};

/// Use of a case: for Markdown, for pages, or for both.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Markdown,
    Page,
    Both,
}

use In::{Both, Markdown, Page};

/// Checks the words of texts: whole, by character, and cut at every place of short ones.
fn check(cases: &[(In, &str, &str)]) {
    let mut wrong = Vec::new();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (place, text, expected) in cases {
        let cleaners = [(Page, Cleaner::markdown(None)), (Markdown, Cleaner::html())];
        for (_, cleaner) in cleaners.into_iter().filter(|(other, _)| place != other) {
            let whole = clean(cleaner.clone(), [*text]);
            if words(&whole.text) != *expected {
                let beginning: String = text.chars().take(300).collect();
                wrong.push(format!(
                    "{beginning:?}\n  is       {:?}\n  expected {expected:?}",
                    words(&whole.text)
                ));
                continue;
            }
            assert_eq!(clean(cleaner.clone(), characters(text)), whole, "{text:?} by character");
            for (at, _) in text.char_indices().step_by(1 + text.len() / 500) {
                assert_eq!(clean(cleaner.clone(), [&text[..at], &text[at..]]), whole, "{text:?} cut at {at}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn silent_elements_are_closed_or_end_with_the_element_around_them() {
    check(&[
        (Both, "A <script>let a = '<p>b</p>';</script> c", "A c"),
        (Both, "A <audio src=x>No audio.<source src=y></audio> c", "A c"),
        (Both, "A <iframe src=x>No frame.</iframe> <svg width=5><text>b</text></svg> c", "A c"),
        (Both, "A <datalist id=x><option>One<option>Two</datalist> c", "A c"),
        (Page, "<math><mi>x</mi><annotation encoding=tex>\\x</annotation></math> y", "x y"),
        (Page, "<head><title>Tab</title><style>p{}</style>Words</head><p>End", "Words End"),
        (Page, "<div>A <video src=x>Old browser.</div><p>Next</p>", "A Next"),
        (Page, "<div>A <svg><path d='M0 0'><p>Next</p></div>", "A Next"),
        (Page, "<div>A <svg><g></div><p>Next <b>one</b></p>", "A Next one"),
        (Page, "<div><template><b>x</b></div><p>Next</p>", "Next"),
        (Page, "<template shadowrootmode=open><p>Shown</p></template>", "Shown"),
        (Both, "A <object data=x>fallback</object> b", "A fallback b"),
        (Both, "A <applet code=x>fallback</applet> b", "A fallback b"),
        (Both, "A <canvas width=5>fallback</canvas> b", "A fallback b"),
        (Both, "A <noscript>fallback</noscript> b", "A fallback b"),
        (Both, "A <select name=x><option>One</option><option>Two</option></select> b", "A One Two b"),
        (
            Markdown,
            "Put it into the <head> or the <title>.\n\nNext.",
            "Put it into the <head> or the <title>. Next.",
        ),
    ]);
}

/// Prose of `count` sentences.
fn prose(count: usize) -> String {
    (0..count).map(|n| format!("Sentence {n} of this page is short. ")).collect()
}

#[test]
fn silent_markup_without_an_end_leaves_the_rest_of_a_long_page() {
    let code = "function f(a) { return a < b && c > d; }\n".repeat(600);
    for begin in [
        "<script>",
        "<script src=x>",
        "<style>",
        "<svg width=5>",
        "<video src=x>",
        "<title>",
        "<template>",
        "<iframe src=x>",
        "<datalist id=x>",
        "<!-- ",
        "<a title=\"",
        "<a href='x",
    ] {
        for count in [200, 2_000] {
            for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
                let text = format!("Start\n\n{begin}\n{}The end.", prose(count));
                let out = clean(cleaner.clone(), [text.as_str()]);
                assert_eq!(clean(cleaner, characters(&text)), out, "{begin}");
                let found = out.text.matches("of this page is short").count();
                assert!(
                    found == count && out.text.trim_end().ends_with("The end."),
                    "{begin} {count}: {found}"
                );
            }
        }
    }
    // A script with code in it, and no end.
    let text = format!("Start <script>{code}<p>{}</p><p>The <b>end</b>.", prose(2_000));
    let out = clean(Cleaner::html(), characters(&text));
    assert_eq!(out.text.matches("of this page is short").count(), 2_000);
    assert!(out.text.ends_with("The end.") && !out.text.contains("return"), "{}", &out.text[..200]);
    // A short rest is spoken too, if it is prose.
    let text = format!("Start <script>{code}<p>{}", prose(2));
    assert!(clean(Cleaner::html(), [text.as_str()]).text.contains("Sentence 1 of this page is short"));
}

#[test]
fn silent_markup_of_any_length_ends_with_its_end() {
    let code = "function f(a) { return a < b && c > d; }\n/* It is a comment. */\n".repeat(2_000);
    let data = format!("{{\"articleBody\": \"{}\"}}", prose(3_000));
    let path = "<path d=\"M0 0L1 1\" fill=\"none\"/>\n".repeat(3_000);
    for (text, expected) in [
        (format!("A\n\n<script>\n{code}</script>\n\nb"), "A b"),
        (format!("A\n\n<script type=\"application/ld+json\">\n{data}</script>\n\nb"), "A b"),
        (format!("A\n\n<style type=a>\n{code}</style>\n\nb"), "A b"),
        (format!("A\n\n<svg width=\"5\">\n{path}</svg>\n\nb"), "A b"),
        (format!("A <!-- {code} --> b"), "A b"),
        (format!("A\n\n<template>\n{}</template>\n\nb", prose(100)), "A b"),
        (format!("A\n\n<!--\n{}\n-->\n\nb", prose(400)), "A b"),
    ] {
        for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            let out = clean(cleaner, characters(&text));
            let words = out.text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words.get(..200).unwrap_or(&words), expected, "{}", &text[..60]);
        }
    }
}

#[test]
fn raised_text_is_an_exponent_or_the_mark_of_a_note() {
    check(&[
        (
            Both,
            "10<sup>6</sup>, m<sup>2</sup>, x<sup>n</sup> and 10<sup>&minus;3</sup>",
            "10⁶, m², xⁿ and 10⁻³",
        ),
        (
            Both,
            "area = side<sup>2</sup>, v = speed<sup>3</sup>, the side<sup>1</sup>",
            "area = side², v = speed³, the side",
        ),
        (Both, "km<sup>2</sup>, sin<sup>2</sup> x, (a + b)<sup>2</sup>", "km², sin² x, (a + b)²"),
        (
            Both,
            "H<sub>2</sub>O, CO<sub>2</sub>, SO<sub>4</sub><sup>2-</sup>, Na<sup>+</sup>",
            "H2O, CO2, SO4²⁻, Na⁺",
        ),
        (Both, "1<sup>st</sup>, 5<sup>th</sup>, 1<sup>er</sup>, M<sup>me</sup>", "1st, 5th, 1er, Mme"),
        (Both, "e<sup>-x</sup> and x<sup>n+1</sup> and x<sup>a+b</sup>", "e^-x and xⁿ⁺¹ and x^a+b"),
        (Both, "word<sup>1</sup> and it is<sup>2</sup> so.<sup>3</sup> End", "word and it is so. End"),
        (
            Both,
            "word<sup>1,2</sup> word<sup>[1]</sup> word<sup>[a]</sup> word<sup>†</sup>",
            "word word word word",
        ),
        (Both, "x<sup><a href=\"#fn1\">1</a></sup> x<a href='#fn'><sup>2</sup></a> x<sup>2</sup>", "x x x²"),
        (Markdown, "x<sup>[1](#fn)</sup> 10<sup>**6**</sup>", "x 10⁶"),
        (Both, "<sup>1</sup> A note. <sup>14</sup>C", "1 A note. 14C"),
        (Both, "word<sup>[citation needed]</sup> x<sup>2", "word[citation needed] x2"),
        (
            Page,
            "So<sup><a href='#c'>&#91;1&#93;</a></sup> and <sup><a href='#d'><b>[</b>3]</a></sup> so",
            "So and so",
        ),
        (Page, "word<sup>[note 3]</sup> x<sup>[1]</sup> (y)<sup>[b]</sup>", "word x (y)"),
        (Page, "<mfrac><mn>1</mn><mn>2</mn></mfrac> <mi>x</mi><mo>=</mo><mn>3</mn>", "1 2 x = 3"),
        (Both, "So it is.&sup1; It has 5&sup2;.", "So it is. It has 5²."),
    ]);
}

#[test]
fn addresses_end_with_the_reference_of_a_mark() {
    check(&[
        (Both, "\"https://example.com&quot; x", "\"example.com\" x"),
        (Both, "&lt;https://example.com/a&gt; x", "<example.com> x"),
        (Both, "https://example.com/?a=1&amp;b=2&amp;c=3. End", "example.com. End"),
        (Both, "https://example.com/?a=1&b=2&copy=3 x&amp;y", "example.com x&y"),
        (Both, "https://example.com&lt;b&gt; https://example.com&nbsp;x", "example.com<b> example.com x"),
        (
            Both,
            "(https://example.com/a&#39;) https://example.com/&eacute;t&eacute; x",
            "(example.com') example.com x",
        ),
        (Both, "https://example.com&a=1 https://example.com/?a&b", "example.com example.com"),
    ]);
}

#[test]
fn ornaments_are_silent_and_the_words_in_them_are_not() {
    check(&[
        (Both, "=-=-=-=\nTitle\n=-=-=-=", "Title"),
        (Both, "a =-=-= b *-*-* c ~*~*~ d -~-~- e", "a b c d e"),
        (Both, "-=[ Title ]=-", "[ Title ]"),
        (Both, "-~*~- Title -~*~-", "Title"),
        (Page, "<pre>\n+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n</pre>", "a, b 1, 2"),
        (Markdown, "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n", "a, b 1, 2"),
        (Page, "<p>Home | About | Contact</p>", "Home, About, Contact"),
        (Markdown, "┌───┬───┐\n│ a │ b │\n├───┼───┤\n│ 1 │ 2 │\n└───┴───┘", "a, b 1, 2"),
        (Markdown, "├── src\n│   └── main.rs", "src main.rs"),
        (Page, "<pre>├── src\n│   └── main.rs</pre>│ x ║", "src main.rs x"),
        (Both, "[████░░░░] 40%", "[ ] 40%"),
        (Markdown, "a\n\n$$\nx\n$$\n\n--\n\n==", "a x"),
        (Page, "<p>a</p> -- <p>==</p><p>- b -- c</p><p>#</p>", "a - b -- c #"),
        (Both, "Name: ______ Date: ___/___/____ and a/b", "Name: Date: and a/b"),
        (Markdown, "+++\na\n+++\n\n:::note\nb\n:::", "a note b"),
        (
            Both,
            "-5, --flag, a--b, x=-1, x+=2, C++, a -> b --> c",
            "-5, --flag, a--b, x=-1, x+=2, C++, a -> b --> c",
        ),
        (
            Markdown,
            "***Both*** _*two*_ **_three_** ~~**four**~~ ***__five__***.",
            "Both two three four five.",
        ),
    ]);
}

#[test]
fn prose_in_a_fence_without_an_end_is_spoken() {
    check(&[
        (
            Markdown,
            "Here:\n```python\ndef f(a):\n    return a\n\nThis defines `f`. You call it so:\n\n- First, *do* this.\n- Then that.\n\nBye!",
            "Here: This defines f. You call it so: First, do this. Then that. Bye!",
        ),
        (
            Markdown,
            "```bash\npip install x\n\n## Next step\n\nOpen the page.\n### Last\nClose it.",
            "Next step Open the page. Last Close it.",
        ),
        (Markdown, "````\nx = 1\n```\nNow you have it.", "Now you have it."),
        (Markdown, "~~~js\nlet a = 1;\n~~\nNow you have it.", "Now you have it."),
        (Markdown, "```\nx = 1\n    ```\nNow you have it.", "Now you have it."),
        (
            Markdown,
            "```\nDear Anna,\n\nI hope that you are well.\nWe come on Friday\nand bring the cake.\n\nBob Lee",
            "Dear Anna, I hope that you are well. We come on Friday and bring the cake. Bob Lee",
        ),
        (Markdown, "```text\nSee [the guide](https://example.com) for **more**.", "See the guide for more."),
        (Markdown, "```\nx = 1\n\n然后运行它。很好", "然后运行它。很好"),
        (
            Markdown,
            "1. Do:\n   ```sh\n   pip install x\n\n   Then run it now.\n2. Next.",
            "1. Do: Then run it now. 2. Next.",
        ),
        (
            Markdown,
            "> ```\n> x = 1\n> It is a sentence of prose.\n\nAfter.",
            "It is a sentence of prose. After.",
        ),
        (Markdown, "> - ```\n>   x = 1\n>   It is *one* of them.\nAfter.", "It is one of them. After."),
        // A fence with a language begins another block.
        (
            Markdown,
            "```bash\npip install x\n\nThen run it:\n\n```python\nx = 1\n```\n\nThat is all.",
            "Then run it: That is all.",
        ),
        (
            Markdown,
            "```markdown\n# Title\n\nText here.\n```python\nx = 1\n```\nMore text.\n```\nAfter.",
            "Title Text here. More text. After.",
        ),
        (Markdown, "~~~sh\na=1\n\nThen this one.\n~~~js\nlet b;\n~~~\nEnd.", "Then this one. End."),
        // Code that was broken off, and closed fences.
        (
            Markdown,
            "Look:\n```python\n# Load the data\ndata = load(\"x\")\n\n# Print it.\nprint(data)\nfor row in data:\n    print(\"Done.\")",
            "Look:",
        ),
        (Markdown, "```\n{\"name\": \"Ann\",\n \"text\": \"It is so.\",", ""),
        (
            Markdown,
            "```rust\n// It is a comment.\n/* And\n * another one. */\nfn main() {\n    println!(\"Hello.\");",
            "",
        ),
        (Markdown, "```text\nIt is a sentence of prose.\n```\nAfter.", "After."),
        (Markdown, "- ```\n  It is a sentence of prose.\n  ```\nAfter.", "After."),
        (Markdown, "````md\n```js\nx\n```\nIt is a sentence.\n````\nAfter.", "After."),
    ]);
}

#[test]
fn long_prose_in_a_fence_is_spoken_before_the_end() {
    let code = "let x = f(a);\n".repeat(20);
    for (begin, end) in [
        ("```\n", "\n```\n"),
        ("```js\n", "\n```\n"),
        ("> ~~~\n> ", "\n> ~~~\n"),
        ("- ```\n  ", "\n  ```\n"),
        ("```\n", ""),
    ] {
        let prose = prose(60).trim_end().replace(
            ". Sentence 3",
            &format!(
                ".{}Sentence 3",
                begin
                    .rsplit('\n')
                    .next()
                    .map_or("\n".to_owned(), |indent| format!("\n{}", indent.replace('-', " ")))
            ),
        );
        let text = format!("{begin}{prose}{end}\nMiddle.\n\n```js\n{code}\n```\nAfter all.");
        let mut cleaner = Cleaner::markdown(None);
        let mut out = crate::text::sourced::Sourced::default();
        cleaner.push(&text[..begin.len() + prose.len()], &mut out);
        assert_eq!(
            clean(Cleaner::markdown(None), characters(&text)),
            clean(Cleaner::markdown(None), [text.as_str()])
        );
        let (before, all) = (
            out.text.matches("of this page is short").count(),
            clean(Cleaner::markdown(None), [text.as_str()]).text,
        );
        assert!(before >= 25, "{begin:?}: {before}");
        assert_eq!(all.matches("of this page is short").count(), 60, "{begin:?}: {all}");
        assert!(
            all.contains("Middle.") && all.ends_with("After all.") && !all.contains("let x"),
            "{begin:?}: {all}"
        );
    }
    // However much code and prose there is, little is kept.
    for line in [
        "It is a phrase of four words more\n\nx = 1;\n",
        "Done.\nx = 1;\n",
        &"words and ".repeat(2_000),
        &"x=1;".repeat(5_000),
    ] {
        let text = format!("```js\n{}", line.repeat(60));
        let mut cleaner = Cleaner::markdown(None);
        let mut out = crate::text::sourced::Sourced::default();
        for c in characters(&text) {
            cleaner.push(c, &mut out);
        }
        assert!(cleaner.memory_bytes() < 200_000, "{}", cleaner.memory_bytes());
        cleaner.finish(&mut out);
        assert_eq!(out.text.matches("Done.").count(), line.matches("Done.").count() * 60);
        assert_eq!(out.text.matches("phrase").count(), line.matches("phrase").count() * 60);
    }
}

#[test]
fn prose_in_an_open_fence_is_spoken_by_a_flush() {
    for (fragments, expected) in [
        (
            &["```js\nx = 1\n\nThen ", "run it now.", " And more.\n", "let y;\n```\nAfter."][..],
            "Then run it now. And more. After.",
        ),
        (&["```js\nx = 1\n\nThen it runs.", "\n```\nAfter."], "Then it runs. After."),
        (&["```js\nx = 1\n", "So it is", " and", " so.\n"], "So it is and so."),
        (&["```js\nx = 1\n\nIt is so.\n\n- Then", " this.\n"], "It is so. Then this."),
    ] {
        let (mut cleaner, mut out) = (Cleaner::markdown(None), crate::text::sourced::Sourced::default());
        for fragment in fragments {
            cleaner.push(fragment, &mut out);
            cleaner.flush(&mut out);
        }
        cleaner.finish(&mut out);
        assert_eq!(out.text.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{fragments:?}");
    }
}

#[test]
fn addresses_end_with_the_marks_around_them() {
    let address = "https://www.example.com/a/b_c?d=e";
    for (before, after) in [
        ("—", "—"),
        ("…", "…"),
        ("*", "*"),
        ("**", "**."),
        ("(", ")"),
        ("<", ">"),
        ("\"", "\","),
        ("'", "'."),
        ("“", "”"),
        ("‘", "’"),
        ("«", "»"),
        ("「", "」"),
        ("『", "』。"),
        ("【", "】"),
        ("（", "）"),
        ("《", "》"),
        ("请看", "。"),
        ("请看", "然后"),
        ("봐", "에서"),
        ("x|", "|y"),
        ("{", "}."),
        ("[", "]"),
        ("=", "."),
        ("x:", ","),
        ("", ";https://example.com/y"),
        ("www.example.com/x,", ", so"),
        ("", "..."),
        ("", "?!"),
        ("&quot;", "&quot;"),
        ("-", "~"),
    ] {
        for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            let text = format!("See {before}{address}{after} now.");
            let whole = clean(cleaner.clone(), [text.as_str()]);
            let spoken: String = whole.text.split_whitespace().collect();
            let wrong = ["/", "a/b", "http", "www", "d=e"].iter().find(|part| spoken.contains(**part));
            assert!(wrong.is_none() && spoken.contains("example.com"), "{text}: {}", whole.text);
            let quiet = |text: &str| {
                text.replace("www.example.com/x", "example.com")
                    .replace("https://example.com/y", "example.com")
                    .replace("&quot;", "\"")
            };
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            let expected = letters(&format!("See {}example.com{} now.", quiet(before), quiet(after)));
            assert_eq!(letters(&whole.text), expected, "{text}: {}", whole.text);
            assert_eq!(clean(cleaner, characters(&text)), whole, "{text}");
        }
    }
    check(&[
        (
            Markdown,
            "Mail *ann.b@example.com*—or (c_d@example.com), 「e@example.com」…",
            "Mail ann.b@example.com—or (c_d@example.com), 「e@example.com」…",
        ),
        (
            Markdown,
            "Open *src/main.rs*—or (~/a_b/c.txt)… or \"C:\\d\\e.txt\".",
            "Open src/main.rs—or (~/a_b/c.txt)… or \"C:\\d\\e.txt\".",
        ),
    ]);
}

#[test]
fn tasks_say_what_is_done() {
    for (language, done) in [
        (None, "Done:"),
        (Some("en-GB"), "Done:"),
        (Some("de"), "Erledigt:"),
        (Some("FR_ca"), "Fait :"),
        (Some("es"), "Hecho:"),
        (Some("ja"), "✓"),
    ] {
        for (text, expected) in [
            ("- [ ] Buy milk.\n- [x] Sign it.", format!("Buy milk. {done} Sign it.")),
            ("* [X] **Sign** it\n  + [x] and", format!("{done} Sign it {done} and")),
            ("1. [x] Sign it\n2. [ ] Buy", format!("1. {done} Sign it 2. Buy")),
            ("> - [x]\tSign", format!("{done} Sign")),
            ("- [x]Sign\n- [x](u) b\n- a [x] b\n\n[x] c", "[x]Sign x b a [x] b [x] c".to_owned()),
        ] {
            let whole = clean(Cleaner::markdown(language), [text]);
            assert_eq!(whole.text.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{text:?}");
            for (at, _) in text.char_indices() {
                let cut = clean(Cleaner::markdown(language), [&text[..at], &text[at..]]);
                assert_eq!(cut, whole, "{text:?} cut at {at}");
            }
        }
    }
}

#[test]
fn text_of_every_element_is_spoken_once() {
    check(&[
        (
            Both,
            "<label for=a>Name</label> <input id=a value=x> <textarea>some text</textarea>",
            "Name some text",
        ),
        (
            Both,
            "<select><optgroup label=a><option>One<option selected>Two</select><button>Go</button>",
            "One Two Go",
        ),
        (
            Both,
            "<figure><img src=x alt=\"A cat\"><figcaption>It sleeps</figcaption></figure>End",
            "A cat It sleeps End",
        ),
        (Both, "<details open><summary>More</summary>It is so.</details>End", "More It is so. End"),
        (Both, "<dl><dt>Tea<dd>A drink<dt>Cup<dd>For it</dl>", "Tea A drink Cup For it"),
        (Both, "<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby> x", "漢 kan 字 ji x"),
        (
            Both,
            "The <abbr title=\"World Health Organization\">WHO</abbr> at <time datetime=2024-01-01>noon</time>",
            "The WHO at noon",
        ),
        (
            Both,
            "Press <kbd>Ctrl</kbd>+<kbd>C</kbd>, <samp>ok</samp>, <var>x</var>, <q>yes</q>, <cite>Book</cite>.",
            "Press Ctrl+C, ok, x, yes, Book.",
        ),
        (
            Both,
            "<fieldset><legend>Size</legend>Big</fieldset><output>5</output><meter value=1>low</meter>",
            "Size Big 5low",
        ),
        (
            Both,
            "<s>old</s> <del>a</del><ins>b</ins> <mark>c</mark> <small>d</small> <u>e</u> <bdo dir=rtl>f</bdo> wo<wbr>rd",
            "old ab c d e f word",
        ),
        (
            Both,
            "<address>Ann<br>Elm St. 5</address><aside>Note</aside><dialog open>Sure?</dialog><menu><li>a<li>b</menu>",
            "Ann Elm St. 5 Note Sure? a b",
        ),
        (
            Both,
            "<map><area alt=x></map><picture><source><img alt=\"Dog\"></picture> <progress value=1>70%</progress>",
            "Dog 70%",
        ),
    ]);
}

#[test]
fn signs_are_no_emoji() {
    check(&[
        (Both, "☑ done ✓ ✗ F♯ ❶ ➔ ☐", "☑ done ✓ ✗ F♯ ❶ ➔ ☐"),
        (Both, "⌘C ⏎ ⇧ → x", "⌘C ⏎ ⇧ → x"),
        (Both, "✔\u{fe0f} yes 😀 ★ ♥ no", "✔ yes no"),
        (Both, "Rating: ★★★☆☆ now", "Rating: ★★★☆☆ now"),
        (Both, "★★ Title ★ end ☆", "★★ Title end"),
        (Markdown, "Rate it.\n\n★★★★☆", "Rate it. ★★★★☆"),
        (Markdown, "Done?\n\n- ✓\n- ✗", "Done? ✓ ✗"),
        (Page, "<p>Rating</p><p>★★★☆☆</p>", "Rating ★★★☆☆"),
        (Both, "2 ✕ 3 ✖ 4, 5 ➕ 3 ➖ 1, 8 ➗ 2", "2 ✕ 3 ✖ 4, 5 ➕ 3 ➖ 1, 8 ➗ 2"),
        (Both, "A♠ K♥ 10♦ J♣ ♥AK3 love♥ ♥", "A♠ K♥ 10♦ J♣ ♥AK3 love"),
        (Both, "I ♥ tea, I ❤\u{fe0f} NY and ❤ you", "I ♥ tea, I ❤ NY and you"),
        (Both, "♘f3 ♂ ♀ ⚥ ☿ ⚀ ♾ 🂡 ♩ 🅷🅸 ☎ ✉ ⚠\u{fe0f} ⚡", "♘f3 ♂ ♀ ⚥ ☿ ⚀ ♾ 🂡 ♩ 🅷🅸 ☎ ✉ ⚠"),
        (Both, "⬆ 5% ⬅ ➡ 🡒 🟰 ⬛", "⬆ 5% ⬅ ➡ 🡒 🟰"),
        (Both, "4.5★ and 4.5 ★ and ⭐ and ⭐⭐⭐☆", "4.5★ and 4.5 ★ and and ⭐⭐⭐☆"),
        (Both, "⭐\u{fe0f}⭐\u{fe0f}☆ ★★½", "⭐⭐☆ ★★½"),
        (Both, "Go 🏃\u{200d}♀\u{fe0f} 👩\u{200d}⚕\u{fe0f} ❤\u{fe0f}\u{200d}🔥 on", "Go on"),
        (Both, "✅ Done✅. Works: ✅", "Done. Works: ✅"),
        (Markdown, "| A | B |\n|--|--|\n| Fast | ✅ |\n| ❌ | ✅ yes |", "A, B Fast, ✅ ❌, yes"),
        (Markdown, "- ✅\n- ❌ no", "✅ no"),
        (Page, "<table><tr><td>Fast<td>✅<td>❌</table>", "Fast, ✅, ❌"),
    ]);
}

#[test]
fn raised_and_lowered_figures_are_fractions_and_notes() {
    check(&[
        (Both, "1<sup>1</sup>/<sub>2</sub> cups", "1¹/₂ cups"),
        (Both, "2<sup>13</sup>/<sub>16</sub> in", "2¹³/₁₆ in"),
        (Both, "H<sub>2</sub>O x<sup>2</sup>/2 and 1<sup>1</sup>/<i>2</i>", "H2O x²/2 and 1¹/2"),
        (Both, "In 2020<sup>1</sup>, 5%<sup>2</sup> and 10<sup>6</sup>", "In 2020, 5% and 10⁶"),
        (Both, "$19<sup>99</sup>", "$19⁹⁹"),
    ]);
}

#[test]
fn data_is_silent_in_any_place() {
    let data = "iVBORw0KGgo/".repeat(8);
    let long = "AAAA".repeat(2_500);
    check(&[
        (Both, "See data:A,B and data:foo,bar,baz.", "See data:A,B and data:foo,bar,baz."),
        (Both, "See DATA:IMAGE/PNG;BASE64,AAAA== now", "See now"),
        (Both, "url(data:image/png;base64,AAAA) url('data:font/woff2;base64,AA')", "url() url('')"),
        (Both, "\"data:image\\/png;base64,AAAA\\/BB\" x", "\"\" x"),
        (Markdown, "<DATA:image/png;base64,AAAA> `data:image/png;base64,AAAA` x", "x"),
        (Both, "data:;base64,AAAA data:chemical/x-pdb;base64,AAAA x", "x"),
        (Both, &format!("data:image/png;base64,{data}\n{data}\nAAA= x"), "x"),
        (Both, &format!("\"data:image/png;base64,{data}\n  {data}\n  AAA\" x"), "\"\" x"),
        (Both, &format!("data:image/png;base64,{data}\nNext line."), "Next line."),
        (Markdown, &format!("> data:image/png;base64,{data}\n> {data}\n\nEnd."), "End."),
        (Markdown, &format!("![cat](<data:image/png;base64,{long}> \"A title\") x"), "cat x"),
        (Markdown, &format!("![cat][c]\n\n[c]: <data:image/png;base64,{long}>\n\nEnd."), "cat End."),
    ]);
}

#[test]
fn definitions_go_on_in_the_next_line() {
    check(&[
        // What begins in another container or block is no title.
        (Markdown, "1. > 3) [r]: http://x.org\n   >3) > \"wait:\"", "3) \"wait:\""),
        (Markdown, "3) [r]: http://y.org\n> \"Quoted words.\"\n   > --", "3) \"Quoted words.\""),
        (Markdown, "[a]: http://x.org\n---\n\"Words.\"", "\"Words.\""),
        (Markdown, "[a]: http://x.org\n# Head\n\"Words.\"", "Head \"Words.\""),
        (Markdown, "[a]: http://x.org\n- (words)", "(words)"),
        (Markdown, "> [a]: http://x.org\n> \"Title\"\n\nAfter.", "After."),
        (Markdown, "[^1]: text\ncontinued\n\nAfter.", "After."),
        (
            Markdown,
            "A[^1].\n\n[^1]: text\nmore **b**\n[^2]: other\n[x] more\n- item\n\nAfter.",
            "A. item After.",
        ),
        (Markdown, "[^1]:\nAfter.", "After."),
        (Markdown, "- item\n[^1]:\n    note\n\nAfter.", "item After."),
        (Markdown, "[^1]: text\n# Heading\nText", "Heading Text"),
        (Markdown, "[^1]: # Heading\nText", "Text"),
        (Markdown, "[^1]: text\n```\ncode\n```\nText", "Text"),
        (Markdown, "[^1]:\n    ```\n    code\n    ```\nText", "Text"),
        (Markdown, "> [^1]: text\ncontinued\n\nAfter.", "After."),
        (Markdown, "[foo]:\n/url\n\"title\"\n\nAfter [foo].", "After [foo]."),
        (Markdown, "[foo]: /url\n\"title\nmore\"\n\nAfter.", "After."),
        (Markdown, "[foo]: /url \"title\nmore\"\n\nAfter.", "After."),
        (Markdown, "> [foo]:\n> /url\n>\n> After.", "After."),
        (Markdown, "[foo\nbar]: /url\n\nAfter.", "After."),
        (Markdown, "[foo]:\n\nText.", "[foo]: Text."),
        (Markdown, "[foo]:\nText here.", "[foo]: Text here."),
        (Markdown, "[foo]:\n- item", "[foo]: item"),
        (Markdown, "[foo]: /url\n\"title\n\nText.", "\"title Text."),
        (Markdown, "[foo]:", "[foo]:"),
        (Markdown, "[Ann\n[Bob] hi [there", "[Ann [Bob] hi [there"),
    ]);
}

#[test]
fn emphasis_in_a_word_is_no_sum() {
    check(&[
        (
            Markdown,
            "5**bold**6 un**believ**able 3**two words**4 **5**6",
            "5bold6 unbelievable 3two words4 56",
        ),
        (Markdown, "5*3*2, 4**5**6, 2**10, 2*x*y, 2*x + 3*y", "5*3*2, 4**5**6, 2**10, 2*x*y, 2*x + 3*y"),
        (
            Markdown,
            "10*log(x), 2**n, **Total 3*x** y, *Area 3*4 cm*",
            "10*log(x), 2**n, Total 3*x y, Area 3*4 cm",
        ),
        (Markdown, "a*b*c + d*e, foo*bar, x**2, 2*pi*r", "abc + d*e, foo*bar, x**2, 2*pi*r"),
        (Markdown, "x *= 2, d * e", "x *= 2, d * e"),
        (Markdown, "==marked== and ==two words==, a == b, a==b", "marked and two words, a == b, a==b"),
        (Markdown, "*[a]* and **[1]** Smith", "[a] and [1] Smith"),
    ]);
}

#[test]
fn cells_come_before_links_and_keep_their_place() {
    check(&[
        (Markdown, "[a | b](x) | c\n---|---|---\n1 | 2 | 3", "[a, b](x), c 1, 2, 3"),
        (Markdown, "[a | b](x) | c\nno table", "a | b | c no table"),
        (Markdown, "| [a | b](x) | c |\n|---|---|---|\n| [1 | 2](y) | 3 |", "[a, b](x), c [1, 2](y), 3"),
    ]);
    for (cleaner, text) in [
        (Cleaner::markdown(None), "| Name | Age |\n|---|---|\n| Ana | 5 |"),
        (Cleaner::markdown(None), "Name | Age\n---|---\nAna|5"),
        (Cleaner::html(), "<tr><th>Name</th><th>Age</th></tr><tr><td> Ana </td><td>5</td></tr>"),
    ] {
        let out = clean(cleaner, [text]);
        let words: Vec<_> = crate::text::words::written(&out.text).collect();
        let places = out.source.ranges(&out.text, &words);
        let written: Vec<_> =
            places.iter().map(|place| &text[place.start as usize..place.end as usize]).collect();
        assert_eq!(written, ["Name", "Age", "Ana", "5"], "{text}");
    }
}

/// Parts of random texts.
const PARTS: &[&str] = &[
    "\n",
    "\n\n",
    " ",
    "    ",
    "a ",
    "word",
    "word. ",
    "5",
    "10",
    "*",
    "**",
    "==",
    "=-=",
    "+-",
    "|",
    " | ",
    "-",
    "---\n",
    "> ",
    "- ",
    "1. ",
    "# ",
    "[",
    "]",
    "[a]",
    "[1]",
    "[^1]",
    "[^1]: ",
    "[a]: ",
    "[a]:\n",
    "/u",
    "\"t\"",
    "(",
    ")",
    "](",
    "](u)",
    "<sup>",
    "</sup>",
    "<sub>",
    "</sub>",
    "<a href=\"#f\">",
    "</a>",
    "<b>",
    "</b>",
    "<p>",
    "</p>",
    "<td>",
    "<br>",
    "<video>",
    "</video>",
    "<video src=x>",
    "<script>",
    "</script>",
    "<svg a=b>",
    "</svg>",
    "<title>",
    "</title>",
    "<template>",
    "<!--",
    "-->",
    "<",
    ">",
    "&",
    "&amp;",
    "&quot;",
    "&#39;",
    ";",
    "https://e.com",
    "https://e.com/?a",
    "data:image/png;base64,",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "data:",
    "│",
    "┌──┐",
    "²",
    "`",
    "```\n",
    "\\",
    "!",
    "_",
    "~~",
    "|--|--|\n",
    "\r\n",
    "😀",
    "é",
];

#[test]
fn random_texts_are_the_same_cut_anywhere() {
    let mut random = crate::text::tests::Random(0xc1ea);
    for _ in 0..10_000 {
        let text: String = (0..1 + random.below(16)).map(|_| PARTS[random.below(PARTS.len())]).collect();
        for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
            let whole = clean(cleaner.clone(), [text.as_str()]);
            assert_eq!(clean(cleaner.clone(), characters(&text)), whole, "{text:?}");
            // A flush may change the markup, but must leave it usable.
            let mut flushed = cleaner;
            let mut out = crate::text::sourced::Sourced::default();
            for c in characters(&text) {
                flushed.push(c, &mut out);
                flushed.flush(&mut out);
            }
            flushed.finish(&mut out);
            let letters = |text: &str| text.chars().filter(|c| matches!(c, 'w' | 'o' | 'r')).count();
            assert!(letters(&out.text) <= letters(&text), "{text:?}: {:?}", out.text);
        }
    }
}

#[test]
fn formulas_of_mathml_are_written_as_in_plain_text() {
    check(&[
        (Both, "A <math><mfrac><mn>1</mn><mn>2</mn></mfrac></math> b", "A 1⁄2 b"),
        (Both, "<math><mfrac><mi>x</mi><mn>2</mn></mfrac></math>", "x ⁄ 2"),
        (Both, "<math><msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><mn>1</mn></math>.", "x^2 + 1."),
        (Both, "<math><msup><mi>e</mi><mrow><mi>x</mi><mo>+</mo><mn>1</mn></mrow></msup></math>", "e^x + 1"),
        (Both, "<math><msup><mi>f</mi><mo>′</mo></msup><mo>(</mo><mi>x</mi><mo>)</mo></math>", "f′ (x)"),
        (
            Both,
            "<math><msqrt><mn>2</mn></msqrt><mo>,</mo><msub><mi>x</mi><mn>1</mn></msub></math>",
            "√2, x 1",
        ),
        (Both, "<math><mover><mi>x</mi><mo>¯</mo></mover><mo>+</mo><mn>1</mn></math>", "x\u{304} + 1"),
        (
            Both,
            "<math><mover accent=true><mi>v</mi> <mo>→</mo></mover><mo>→</mo><mi>a</mi></math>",
            "v\u{20d7} → a",
        ),
        (Both, "<math><mroot><mi>x</mi><mn>3</mn></mroot></math>", "x^(1⁄3)"),
        (Both, "<math><msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup></math>", "x 1^2"),
        (Both, "<math><msubsup><mo>∫</mo><mn>0</mn><mn>1</mn></msubsup><mi>x</mi></math>", "∫ 0 → 1 x"),
        (
            Both,
            "<math><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover></math>",
            "∑ i = 1 → n",
        ),
        (
            Both,
            "<math><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mn>2</mn></mtd></mtr>\
             </mtable></math>",
            "1, 0; 2",
        ),
        (Both, "<math><mfenced><mi>a</mi><mi>b</mi></mfenced></math>", "(a, b)"),
        (Both, "<math>\n <mi>x</mi>\n <mo>=</mo>\n <mn>1</mn>\n</math>, so", "x = 1, so"),
        (Both, "<math><mi>sin</mi><mo>&#x2061;</mo><mi>x</mi></math>", "sin x"),
        (Both, "<math><mtext>way per time</mtext></math> is it", "way per time is it"),
        // Its source is not spoken, nor is its picture, nor its form for the eye.
        (
            Both,
            "<math><semantics><mi>x</mi><annotation encoding=tex>x</annotation><annotation-xml encoding=y><ci>x</ci>\
             </annotation-xml></semantics></math> y",
            "x y",
        ),
        (Both, "<math><mi>x</mi></math> <img src=a alt=\"{\\displaystyle x}\"> y", "x y"),
        (Both, "<math><mi>x</mi></math> <img src=a alt=\"A cat\"> y", "x A cat y"),
        (Both, "<math><mi>x</mi></math><span class=a aria-hidden=\"true\"><span>x</span></span> y", "x y"),
        // Without its end.
        (Both, "A <math><mfrac><mn>1</mn> and prose goes on", "A 1 and prose goes on"),
        (Page, "<p>A <math><mi>x</mi><p>b c", "A x b c"),
        (Page, "<annotation>is text</annotation> b", "is text b"),
        (Markdown, "<annotation>is text</annotation> b", "<annotation>is text</annotation> b"),
    ]);
}

#[test]
fn letters_above_a_variable_are_exponents() {
    check(&[
        (Both, "e<sup>x</sup> and y<sup>k</sup>", "e^x and y^k"),
        (Both, "2<sup>x</sup>, 10<sup>k</sup>, e<sup>iπ</sup>, x<sup>α</sup>", "2^x, 10^k, e^iπ, x^α"),
        (Both, "A<sup>T</sup> and R<sup>n</sup>", "A^T and Rⁿ"),
        (Both, "5<sup>th</sup>, 1<sup>er</sup>, M<sup>me</sup>, M<sup>r</sup>", "5th, 1er, Mme, Mr"),
        (Both, "2<sup>e</sup>, n<sup>o</sup>, word<sup>a</sup>", "2e, no, word"),
    ]);
}

#[test]
fn addresses_in_angle_brackets_are_spoken() {
    check(&[
        (Page, "and <ssh://git@h.com/x> and", "and h.com and"),
        (Page, "and <irc://chat.example.org/x> and", "and chat.example.org and"),
        (Page, "and <o:p>b</o:p> and", "and b and"),
    ]);
}

#[test]
fn cues_of_subtitles_are_silent() {
    check(&[
        (
            Markdown,
            "1\n00:00:01,000 --> 00:00:04,200\nHello there.\n\n2\n00:00:05,000 --> 00:00:07,500\nIt is me.",
            "Hello there. It is me.",
        ),
        (
            Markdown,
            "00:01.000 --> 00:04.000 align:start\nHello.\n\n00:05.000 --> 00:07.000\nYes.",
            "Hello. Yes.",
        ),
        (Markdown, "42\n\nSo it is.\n7\nseven", "42 So it is. 7 seven"),
        (Markdown, "12", "12"),
        (Markdown, "From 00:00:01,000 --> 00:00:02,000 on", "From 00:00:01,000 --> 00:00:02,000 on"),
    ]);
}

#[test]
fn brackets_side_by_side_are_text_unless_a_label_is_sure() {
    check(&[
        (Markdown, "Tom said [sic][emphasis added] so.", "Tom said [sic][emphasis added] so."),
        (Markdown, "A tonne.[4][two words here] and", "A tonne.[two words here] and"),
        (Markdown, "See [^1][big news] here.", "See [big news] here."),
        (Markdown, "[this][1] [text][my-label]", "this text"),
    ]);
}

#[test]
fn lists_behind_a_tag_or_an_address_without_an_end_are_spoken() {
    let items: String = (0..400).map(|_| "<p>Red apples</p>\n").collect();
    let said = |text: &str| {
        let (mut cleaner, mut out) = (Cleaner::html(), crate::text::sourced::Sourced::default());
        cleaner.push(text, &mut out);
        cleaner.finish(&mut out);
        out.text.matches("apples").count()
    };
    assert_eq!(said(&format!("<p>See <a href='https://x.org>this</a></p>{items}<p>End.</p>")), 400);
    let lines: String = (0..400).map(|n| format!("- Red apples {n}\n")).collect();
    let (mut cleaner, mut out) = (Cleaner::markdown(None), crate::text::sourced::Sourced::default());
    cleaner.push(&format!("See <a href=\"https://x.org>this</a>:\n\n{lines}"), &mut out);
    cleaner.finish(&mut out);
    assert_eq!(out.text.matches("apples").count(), 400);
    let (mut cleaner, mut out) = (Cleaner::markdown(None), crate::text::sourced::Sourced::default());
    cleaner.push(&format!("See [this](<https://x.org and {}", "The lamp is on. ".repeat(200)), &mut out);
    cleaner.finish(&mut out);
    assert_eq!(out.text.matches("lamp").count(), 200);
}

#[test]
fn marks_of_a_formula_are_its_own() {
    check(&[
        (Markdown, "$\\sqrt[3]{27} = 3$ and [a](https://example.com)", "$\\sqrt[3]{27} = 3$ and a"),
        (
            Markdown,
            "$\\text{Total} = \\$5 \\times 3$ so \\*no\\*",
            "$\\text{Total} = \\$5 \\times 3$ so *no*",
        ),
        (Markdown, "$a & b \\\\ c \\, d$ is \\_so\\_", "$a & b \\\\ c \\, d$ is _so_"),
        (Markdown, "$$x \\{1\\}$$ then \\[no\\]", "$$x \\{1\\}$$ then [no]"),
        (Markdown, "It costs $5 and \\$6, see [a](https://example.com).", "It costs $5 and $6, see a."),
    ]);
}

#[test]
fn formulas_in_brackets_with_escapes_keep_their_marks() {
    check(&[
        (Markdown, "So \\(x*y*z\\) and \\(a_1 + b_1\\) *are*.", "So \\(x*y*z\\) and \\(a_1 + b_1\\) are."),
        (Markdown, "\\[\nx = \\frac{-b}{2a}\n\\]\n\nText.", "\\[ x = \\frac{-b}{2a} \\] Text."),
        (Markdown, "\\[a \\\\[2pt] b = [1](u)\\]", "\\[a \\\\[2pt] b = [1](u)\\]"),
        (Markdown, "A \\[note\\], file\\(s\\) and \\(see *this*\\).", "A [note], file(s) and (see this)."),
        (Markdown, "\\[x = *1*\n\nNo end \\( *a*", "[x = 1 No end ( a"),
        (Markdown, "`\\(x*y*z\\)` and $\\left\\(a\\right\\)$", "\\(x*y*z\\) and $\\left(a\\right)$"),
    ]);
}

#[test]
fn words_without_sentences_are_not_lost_with_a_tag_that_has_no_end() {
    // Nothing in these is a sentence, and each is longer than the text that is held back.
    let long = |text: &str| text.repeat(60_000 / text.len());
    for words in
        [long("so then we went on and "), long("这是一个没有句号的文本"), long("これはながいぶんしょう、")]
    {
        for begin in ["<a title=\"", "<a href='x", "<!-- "] {
            for cleaner in [Cleaner::markdown(None), Cleaner::html()] {
                let text = format!("Start {begin}{words}");
                let out = clean(cleaner.clone(), [text.as_str()]);
                let count = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
                let kept = count(&out.text) * 100 / count(&text);
                assert!(kept >= 99, "{begin}{}: {kept} %", words.chars().take(12).collect::<String>());
                assert!(cleaner.memory_bytes() < 400_000);
            }
        }
    }
    // Data of any length are silent.
    let data = ["0.5 1 M 12,3 L ", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY0123+/", "{\"id\":12,\"a\":[1,2]},"];
    for data in data.map(long) {
        let out = clean(Cleaner::html(), [format!("A <a title='{data}'>b</a> c").as_str()]);
        assert_eq!(out.text.get(..40).unwrap_or(&out.text), "A b c");
    }
}
