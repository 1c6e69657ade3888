use super::*;

type Case = (&'static str, &'static str, &'static [&'static str]);

/// Language, text, segments.
const CASES: &[Case] = &[
    ("", "The kettle is on. Sit down.", &["The kettle is on.", "Sit down."]),
    ("", "Ready? Go! Now.", &["Ready?", "Go!", "Now."]),
    ("", "I was thinking... maybe later.", &["I was thinking... maybe later."]),
    ("", "It went quiet... Then a knock.", &["It went quiet...", "Then a knock."]),
    ("", "He never wrote back.... We moved on.", &["He never wrote back....", "We moved on."]),
    ("", "She paused . . . and left.", &["She paused . . . and left."]),
    ("", "Open Main.Java and read.", &["Open Main.Java and read."]),
    ("", "Dr. Okafor called at noon.", &["Dr. Okafor called at noon."]),
    ("", "Prof. A. B. Chen will speak.", &["Prof. A. B. Chen will speak."]),
    ("", "St. Mary's is on Elm St. Turn left there.", &["St. Mary's is on Elm St.", "Turn left there."]),
    ("", "J. R. Moreno wrote it. P.D. Quill edited.", &["J. R. Moreno wrote it.", "P.D. Quill edited."]),
    ("", "She works at Halden Inc. They make pumps.", &["She works at Halden Inc.", "They make pumps."]),
    ("", "Bring nuts, figs, etc. We leave at six.", &["Bring nuts, figs, etc.", "We leave at six."]),
    ("", "Bring nuts, figs, etc. and water.", &["Bring nuts, figs, etc. and water."]),
    ("", "Kim vs. Park starts now.", &["Kim vs. Park starts now."]),
    ("", "The U.S. economy grew.", &["The U.S. economy grew."]),
    ("", "The U.S. Senate voted.", &["The U.S. Senate voted."]),
    ("", "Doors open at 9 a.m. sharp.", &["Doors open at 9 a.m. sharp."]),
    ("", "The call is at 5 p.m. Friday.", &["The call is at 5 p.m. Friday."]),
    ("", "He holds a Ph.D. in botany.", &["He holds a Ph.D. in botany."]),
    ("", "Is it locked? No. Try again.", &["Is it locked?", "No.", "Try again."]),
    ("", "See Fig. 3 and pp. 12-14.", &["See Fig. 3 and pp. 12-14."]),
    ("", "It is approx. 4 km away.", &["It is approx. 4 km away."]),
    (
        "",
        "Luis Vega Sr. retired. Luis Vega Jr. took over.",
        &["Luis Vega Sr. retired.", "Luis Vega Jr. took over."],
    ),
    ("de", "Am 3. Mai beginnt der Kurs.", &["Am 3. Mai beginnt der Kurs."]),
    ("fr", "M. Petit arrive. Il est tard.", &["M. Petit arrive.", "Il est tard."]),
    ("", "¿Vienes? ¡Sí! Vale.", &["¿Vienes?", "¡Sí!", "Vale."]),
    ("no", "Vi har bl.a. te. Velkommen.", &["Vi har bl.a. te.", "Velkommen."]),
    ("", "So do I. Good night.", &["So do I.", "Good night."]),
    ("", "Pi is 3.14 or so. Fine.", &["Pi is 3.14 or so.", "Fine."]),
    ("", "I counted 42. Nobody agreed.", &["I counted 42.", "Nobody agreed."]),
    ("", "It costs $4.50. Pay here.", &["It costs $4.50.", "Pay here."]),
    ("", "Install v1.10.2 first.", &["Install v1.10.2 first."]),
    ("", "Ping 10.0.0.1 now.", &["Ping 10.0.0.1 now."]),
    ("de", "Fällig am 24.12.2026. Bitte zahlen.", &["Fällig am 24.12.2026.", "Bitte zahlen."]),
    ("", "1. Wash hands. 2. Dry them.", &["1. Wash hands.", "2. Dry them."]),
    ("", "- Milk\n- Bread", &["- Milk", "- Bread"]),
    ("", "Steps:\n1. Breathe in\n2. Rest", &["Steps:", "1. Breathe in", "2. Rest"]),
    ("", "It rose 5.5%. Then it fell.", &["It rose 5.5%.", "Then it fell."]),
    ("", "Call 555.0142 today.", &["Call 555.0142 today."]),
    ("", "Visit example.org for more.", &["Visit example.org for more."]),
    ("", "Visit example.org for more.", &["Visit example.org for more."]),
    ("", "Edit config.toml and save.", &["Edit config.toml and save."]),
    ("", "We use Node.js and Rust.", &["We use Node.js and Rust."]),
    ("", "Ask @mira.k about it.", &["Ask @mira.k about it."]),
    ("", "If 5 < 10. Then stop.", &["If 5 < 10.", "Then stop."]),
    (
        "",
        "A <emphasis level=\"strong\">big. one</emphasis> day. Ok.",
        &["A <emphasis level=\"strong\">big. one</emphasis> day.", "Ok."],
    ),
    ("", "\"Stop.\" He froze.", &["\"Stop.\"", "He froze."]),
    ("", "“Is it far?” “No.”", &["“Is it far?”", "“No.”"]),
    ("", "It works. (Mostly.) Try it.", &["It works.", "(Mostly.)", "Try it."]),
    ("", "« Viens. » Elle sourit.", &["« Viens. »", "Elle sourit."]),
    ("", "That one is the kids'. Not mine.", &["That one is the kids'.", "Not mine."]),
    ("", "He asked—really?—and left.", &["He asked—really?—and left."]),
    ("", "今天很冷。我们回家吧！好吗？", &["今天很冷。", "我们回家吧！", "好吗？"]),
    ("", "終わりました。次へ進みます。", &["終わりました。", "次へ進みます。"]),
    ("", "好的。走。", &["好的。", "走。"]),
    ("", "Rustは速い。OK! 次。", &["Rustは速い。", "OK!", "次。"]),
    ("", "비가 와요. 우산 있어요?", &["비가 와요.", "우산 있어요?"]),
    ("", "श्लोक पूरा हुआ॥ अब सुनो।", &["श्लोक पूरा हुआ॥", "अब सुनो।"]),
    ("", "সে এল। আমি গেলাম।", &["সে এল।", "আমি গেলাম।"]),
    ("", "وہ آیا۔ میں گیا۔", &["وہ آیا۔", "میں گیا۔"]),
    ("", "วันนี้อากาศดี เราไปเดินเล่นกัน", &["วันนี้อากาศดี เราไปเดินเล่นกัน"]),
    ("", "እሱ መጣ። እኔ ሄድኩ።", &["እሱ መጣ።", "እኔ ሄድኩ።"]),
    ("el", "Πού είσαι; Εδώ είμαι.", &["Πού είσαι;", "Εδώ είμαι."]),
    ("", "គាត់មក។ ខ្ញុំទៅ។", &["គាត់មក។", "ខ្ញុំទៅ។"]),
    ("", "הוא בא. אני הולך.", &["הוא בא.", "אני הולך."]),
    ("", "Done. 😀 Next one.", &["Done. 😀", "Next one."]),
    ("", "Hi 👩\u{200d}💻. Bye.", &["Hi 👩\u{200d}💻.", "Bye."]),
    ("", "This line\nwraps here. End.", &["This line\nwraps here.", "End."]),
    ("", "Meet Dr. Sato. He waits.", &["Meet Dr. Sato.", "He waits."]),
    ("", "Well... okay.", &["Well... okay."]),
    ("", "What?! No.", &["What?!", "No."]),
    ("", "Pope Pius IX. spoke. Art. IV applies.", &["Pope Pius IX. spoke.", "Art. IV applies."]),
    ("", "He said: go. They went.", &["He said: go.", "They went."]),
    ("", "It was cut [...] and sewn. Done.", &["It was cut [...] and sewn.", "Done."]),
];

fn settings(language: &str) -> Segmentation {
    Segmentation { language: Some(language.to_owned()).filter(|l| !l.is_empty()), ..Segmentation::default() }
}

/// The segments of a text that arrives in these fragments.
fn segments<'a>(settings: &Segmentation, fragments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut segmenter = Segmenter::new(settings.clone());
    let mut segments = Vec::new();
    for fragment in fragments {
        segmenter.push(fragment);
        segments.extend(std::iter::from_fn(|| segmenter.next_segment()));
    }
    segmenter.finish();
    segments.extend(std::iter::from_fn(|| segmenter.next_segment()));
    assert_eq!(segmenter.buffered_chars(), 0);
    segments
}

#[test]
fn cases() {
    let mut failures = Vec::new();
    for (language, text, expected) in CASES.iter() {
        let got = segments(&settings(language), [*text]);
        if got != *expected {
            failures.push(format!("{text:?}\n   got {got:?}\n  want {expected:?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), CASES.len(), failures.join("\n"));
}
