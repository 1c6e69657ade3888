use super::boundary::MAX_WORD_BYTES;
use super::*;

pub(super) type Case = (&'static str, &'static str, &'static [&'static str]);

/// Language, text, segments. All pass.
pub(super) const CASES: &[Case] = &[
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
    ("", "It rained.\nWe stayed in.", &["It rained.", "We stayed in."]),
    (
        "",
        "First line\r\nsecond line. Third.\r\n\r\nFourth",
        &["First line\r\nsecond line.", "Third.", "Fourth"],
    ),
    ("", "A heading\n\nThe text", &["A heading", "The text"]),
    ("", "A heading\r\n \t\r\nThe text", &["A heading", "The text"]),
    ("", "List:\r\n- one\r\n- two\r\n\r\nAfter.", &["List:", "- one", "- two", "After."]),
    ("", "* one\n* two\n• three", &["* one", "* two", "• three"]),
    ("", "1) one\n2) two\na) three", &["1) one", "2) two", "a) three"]),
    ("", "# Title\n## Part\nText here.", &["# Title", "## Part", "Text here."]),
    ("", "It is 5\n- no 6 degrees.", &["It is 5", "- no 6 degrees."]),
    ("", "Steps: 1. Wash. 2. Dry.", &["Steps: 1. Wash.", "2. Dry."]),
    ("", "It costs $1,299.99. Cheap!", &["It costs $1,299.99.", "Cheap!"]),
    ("", "That is €3.50, not £4. Odd.", &["That is €3.50, not £4.", "Odd."]),
    ("", "We met at 9:30. He was late.", &["We met at 9:30.", "He was late."]),
    ("", "We left at 5 p.m. The gates closed.", &["We left at 5 p.m.", "The gates closed."]),
    ("", "Open 9 a.m.-5 p.m. daily.", &["Open 9 a.m.-5 p.m. daily."]),
    ("", "The U.S. They left.", &["The U.S.", "They left."]),
    ("", "He likes the U.S.A. a lot.", &["He likes the U.S.A. a lot."]),
    (
        "",
        "Go to https://example.org/a.b?c=D!e now. Then stop.",
        &["Go to https://example.org/a.b?c=D!e now.", "Then stop."],
    ),
    ("", "See https://example.org/. It works.", &["See https://example.org/.", "It works."]),
    ("", "Write to a.b@example.co.uk. We answer.", &["Write to a.b@example.co.uk.", "We answer."]),
    ("", "Write to me@example.org, please.", &["Write to me@example.org, please."]),
    ("", "Use e.g. Paris or i.e. London. Fine.", &["Use e.g. Paris or i.e. London.", "Fine."]),
    ("", "Rooms (e.g. Suite 4) cost more.", &["Rooms (e.g. Suite 4) cost more."]),
    ("", "Smith et al. (2020) agree. So do we.", &["Smith et al. (2020) agree.", "So do we."]),
    ("", "J. A. Smith and I. M. Pei met.", &["J. A. Smith and I. M. Pei met."]),
    ("", "C. S. Lewis wrote. It sold.", &["C. S. Lewis wrote.", "It sold."]),
    ("", "Take vitamin C. It helps.", &["Take vitamin C.", "It helps."]),
    ("", "Mr. and Mrs. Day came. Gen. Lee left.", &["Mr. and Mrs. Day came.", "Gen. Lee left."]),
    ("", "He sat. Then he slept.", &["He sat.", "Then he slept."]),
    ("", "On Jan. 5 it began. In Dec. it ended.", &["On Jan. 5 it began.", "In Dec. it ended."]),
    ("", "See No. 5, Art. IX and Vol. 2. All good.", &["See No. 5, Art. IX and Vol. 2.", "All good."]),
    ("", "No. I will not.", &["No.", "I will not."]),
    ("", "He lives on Park Ave. Go there.", &["He lives on Park Ave.", "Go there."]),
    (
        "",
        "Mount St. Helens erupted. We saw Paris and St. Louis.",
        &["Mount St. Helens erupted.", "We saw Paris and St. Louis."],
    ),
    ("", "It ended.Then it began.", &["It ended.", "Then it began."]),
    ("", "I came.I saw.I'm back.", &["I came.", "I saw.", "I'm back."]),
    ("", "Really?Yes!No.", &["Really?", "Yes!", "No."]),
    ("", "Use os.path, Node.js. Done.", &["Use os.path, Node.js.", "Done."]),
    ("", "\"Stop!\" he said. \"Why?\" she asked.", &["\"Stop!\" he said.", "\"Why?\" she asked."]),
    ("", "“Go.” “Now?” ‘Yes.’ He went.", &["“Go.”", "“Now?”", "‘Yes.’", "He went."]),
    ("", "He said, \"It is late.\" Then he left.", &["He said, \"It is late.\"", "Then he left."]),
    ("", "It is over ((really). Truly). So.", &["It is over ((really).", "Truly).", "So."]),
    ("", "A (nested (deep) thought.) Next.", &["A (nested (deep) thought.)", "Next."]),
    ("", "He was (?) late and (!) loud. Odd.", &["He was (?) late and (!) loud.", "Odd."]),
    ("", "It ends [1]. Then [2] more.", &["It ends [1].", "Then [2] more."]),
    ("", "Wait… what? Wait… No.", &["Wait… what?", "Wait…", "No."]),
    ("", "So... \"Who is there?\" he asked.", &["So...", "\"Who is there?\" he asked."]),
    ("", "No way?!?! Yes!!! Ok...", &["No way?!?!", "Yes!!!", "Ok..."]),
    ("", "He left . Then came back .", &["He left .", "Then came back ."]),
    ("", "i went home. it was late. bye.", &["i went home.", "it was late.", "bye."]),
    ("", "It is in the dept. of trade. Fine.", &["It is in the dept. of trade.", "Fine."]),
    ("", "I like it. iPhones sell.", &["I like it.", "iPhones sell."]),
    ("", "Yes! 🎉🎉 Great. 👍", &["Yes! 🎉🎉", "Great. 👍"]),
    ("", "Done 👍🏽. Flag 🇳🇴. Bye", &["Done 👍🏽.", "Flag 🇳🇴.", "Bye"]),
    ("", "Done.\n✅ Next.", &["Done.", "✅ Next."]),
    ("", "😀", &["😀"]),
    ("", "...", &["..."]),
    ("", "* * *\n\nNext.", &["* * *\n\nNext."]),
    ("", "End. * * *", &["End. * * *"]),
    ("", "   ", &[]),
    ("", "\n\n\r\n", &[]),
    ("", "", &[]),
    ("", "Hello", &["Hello"]),
    ("", ".5 and .NET are fine. Ok.", &[".5 and .NET are fine.", "Ok."]),
    ("", "Text.<br/> More. <p>New.</p> Last.", &["Text.<br/> More.", "<p>New.</p>", "Last."]),
    ("", "Wait <break time=\"1. 5s\"/> here. Ok.", &["Wait <break time=\"1. 5s\"/> here.", "Ok."]),
    ("", "If a <b. Then stop. Ok.", &["If a <b.", "Then stop.", "Ok."]),
    ("", "他说：“走吧。”然后离开了。", &["他说：“走吧。”", "然后离开了。"]),
    ("", "他走了……然后回来。好", &["他走了……然后回来。", "好"]),
    ("", "很好.我们走!好吗?好", &["很好.", "我们走!", "好吗?", "好"]),
    ("", "圆周率是3.14。对。", &["圆周率是3.14。", "对。"]),
    (
        "ja",
        "「はい。」と言った。「行くよ。」彼は笑った。",
        &["「はい。」と言った。", "「行くよ。」", "彼は笑った。"],
    ),
    ("ja", "本当？！うん。", &["本当？！", "うん。"]),
    ("ko", "3.14입니다. \"네.\" 좋아요!", &["3.14입니다.", "\"네.\"", "좋아요!"]),
    ("", "مرحبا. كيف حالك؟ أنا بخير.", &["مرحبا.", "كيف حالك؟", "أنا بخير."]),
    ("", "שלום! מה שלומך? \"טוב.\" כן.", &["שלום!", "מה שלומך?", "\"טוב.\"", "כן."]),
    ("", "यह अच्छा है।वह गया।", &["यह अच्छा है।", "वह गया।"]),
    ("", "Բարև։ Ինչպես ես։", &["Բարև։", "Ինչպես ես։"]),
    ("ru", "Он ушёл. Она осталась... но потом пришла.", &["Он ушёл.", "Она осталась... но потом пришла."]),
    (
        "de",
        "Das ist z. B. ein Hund, d. h. ein Tier. Gut.",
        &["Das ist z. B. ein Hund, d. h. ein Tier.", "Gut."],
    ),
    ("de", "Dr. Maier kam am 24.12. an. Er blieb.", &["Dr. Maier kam am 24.12. an.", "Er blieb."]),
    (
        "de",
        "Im 3. Stock wohnt Hr. Kurz. Ich zähle 42. Das stimmt.",
        &["Im 3. Stock wohnt Hr. Kurz.", "Ich zähle 42.", "Das stimmt."],
    ),
    ("de-AT", "„Komm.“ Er ging. »Nein.« Gut.", &["„Komm.“", "Er ging.", "»Nein.«", "Gut."]),
    ("de", "Äpfel, Birnen usw. Wir gehen.", &["Äpfel, Birnen usw.", "Wir gehen."]),
    (
        "fr",
        "Vraiment ? Oui ! MM. Petit et Roy, p. ex., partent.",
        &["Vraiment ?", "Oui !", "MM. Petit et Roy, p. ex., partent."],
    ),
    ("fr", "J.-P. Roy habite ici. Il dort.", &["J.-P. Roy habite ici.", "Il dort."]),
    ("es", "El Sr. Ruiz llegó. ¿Y Ud. también? Sí.", &["El Sr. Ruiz llegó.", "¿Y Ud. también?", "Sí."]),
    ("es", "Hola.\n—¿Vienes?\n—Sí.", &["Hola.", "—¿Vienes?", "—Sí."]),
    (
        "it",
        "Il dott. Rossi è qui. Pane, vino ecc. Andiamo.",
        &["Il dott. Rossi è qui.", "Pane, vino ecc.", "Andiamo."],
    ),
    ("pt", "A Dra. Sá chegou. Pão, vinho etc. Vamos.", &["A Dra. Sá chegou.", "Pão, vinho etc.", "Vamos."]),
    ("nl", "Dhr. De Vries komt, d.w.z. morgen. Goed.", &["Dhr. De Vries komt, d.w.z. morgen.", "Goed."]),
    (
        "da",
        "Det er den 3. maj. Kaffe, te m.m. Velkommen.",
        &["Det er den 3. maj.", "Kaffe, te m.m.", "Velkommen."],
    ),
    ("sv", "Ta t.ex. te. Bra.", &["Ta t.ex. te.", "Bra."]),
    ("el", "Ο κ. Νίκος ήρθε. Φρούτα, π.χ. μήλα. Ναι;", &["Ο κ. Νίκος ήρθε.", "Φρούτα, π.χ. μήλα.", "Ναι;"]),
    ("xx", "Dr. Who? Yes.", &["Dr. Who?", "Yes."]),
    ("", "Is 2 > 1? Yes: 3 < 4. Good.", &["Is 2 > 1?", "Yes: 3 < 4.", "Good."]),
    ("", "Rock 'n' roll. 'Tis true. The '90s.", &["Rock 'n' roll.", "'Tis true.", "The '90s."]),
    ("", "He left. — Then she left.", &["He left.", "— Then she left."]),
    ("", "**Bold.** Then _it._ End.", &["**Bold.**", "Then _it._", "End."]),
    ("", "Halden Inc. makes pumps (Ltd. too). Yes.", &["Halden Inc. makes pumps (Ltd. too).", "Yes."]),
    ("", "Keep it at max. RH 85% or min. I left.", &["Keep it at max. RH 85% or min.", "I left."]),
    ("", "Version 2. It is new. Try v2. It works.", &["Version 2.", "It is new.", "Try v2.", "It works."]),
];

/// The same, for lines without marks at their ends.
pub(super) const LINES: &[Case] = &[
    ("", "To buy:\nApples\nPears\nPlums", &["To buy:", "Apples", "Pears", "Plums"]),
    ("", "To buy:\napples and\npears", &["To buy:", "apples and\npears"]),
    (
        "",
        "Pancakes\nServes 4\n\nIngredients\n2 cups flour\n1 tsp salt\n½ cup milk\n$3 of eggs\n",
        &["Pancakes", "Serves 4", "Ingredients", "2 cups flour", "1 tsp salt", "½ cup milk", "$3 of eggs"],
    ),
    (
        "",
        "[10:32] Ana: hi\n[10:33] Ben: hello, are you there\n(10:34) Ana: yes\n[10:35:01] Ben: I sent you the long list of everything that we need\n[10:36] Ana: ok",
        &[
            "[10:32] Ana: hi",
            "[10:33] Ben: hello, are you there",
            "(10:34) Ana: yes",
            "[10:35:01] Ben: I sent you the long list of everything that we need",
            "[10:36] Ana: ok",
        ],
    ),
    (
        "",
        "Ana: are you coming to the party tonight or not at all\nBen: yes\n10:32 Cleo: me too",
        &["Ana: are you coming to the party tonight or not at all", "Ben: yes", "10:32 Cleo: me too"],
    ),
    ("", "<ana> hi there\n<Ben> Hello", &["<ana> hi there", "<Ben> Hello"]),
    (
        "",
        "And sorry I could not travel both\nAnd be one traveler, long I stood\nAnd looked down one as far as I could\nTo where it bent in the undergrowth;",
        &[
            "And sorry I could not travel both",
            "And be one traveler, long I stood",
            "And looked down one as far as I could",
            "To where it bent in the undergrowth;",
        ],
    ),
    (
        "",
        "Two roads diverged in a yellow wood,\nAnd sorry I could not travel both",
        &["Two roads diverged in a yellow wood,\nAnd sorry I could not travel both"],
    ),
    (
        "",
        "Name\tAge\tCity\nAna\t31\tRome\nBen\t29\tOslo",
        &["Name\tAge\tCity", "Ana\t31\tRome", "Ben\t29\tOslo"],
    ),
    (
        "",
        "Opens at 9 a.m.\nCloses at 5 p.m.\nFree entry",
        &["Opens at 9 a.m.", "Closes at 5 p.m.", "Free entry"],
    ),
    ("", "Log in\nSign up\nAbout\nContact us", &["Log in", "Sign up", "About", "Contact us"]),
    (
        "",
        "The quick brown fox jumped over the lazy dog and met\nMary on the way to the market in the old town of\nOslo. Then it slept.",
        &[
            "The quick brown fox jumped over the lazy dog and met\nMary on the way to the market in the old town of\nOslo.",
            "Then it slept.",
        ],
    ),
    (
        "",
        "We all sat down. He told me about\nParis and the\nLouvre, and then of the well-\nKnown one. Done.",
        &[
            "We all sat down.",
            "He told me about\nParis and the\nLouvre, and then of the well-\nKnown one.",
            "Done.",
        ],
    ),
    (
        "",
        "I went to the market with my\nfriend and bought apples from\nsome people we met there with\nMr Jones at the corner, for Ann\nJones as well. Done.",
        &[
            "I went to the market with my\nfriend and bought apples from\nsome people we met there with\nMr Jones at the corner, for Ann\nJones as well.",
            "Done.",
        ],
    ),
    (
        "",
        "It was said (by those who knew the\nThing) that it is so.",
        &["It was said (by those who knew the\nThing) that it is so."],
    ),
    (
        "",
        "as we have shown in our work\n[4] and elsewhere",
        &["as we have shown in our work\n[4] and elsewhere"],
    ),
    ("", "“Hope is the thing\nWith feathers.”", &["“Hope is the thing", "With feathers.”"]),
    (
        "",
        "It was only\nabout (5\nor so) and it is\n5 degrees",
        &["It was only\nabout (5\nor so) and it is\n5 degrees"],
    ),
    ("", "Milk\n🍎 Apples\n🍐 Pears", &["Milk", "🍎 Apples", "🍐 Pears"]),
    ("", "Mara Lind\r\n12 Elm St.\r\nOslo\r\nNorway", &["Mara Lind", "12 Elm St.", "Oslo", "Norway"]),
    ("", "购物清单\n苹果\n梨", &["购物清单", "苹果", "梨"]),
    (
        "",
        "今天天气很好我们大家一起去公园里面散步然后回家\n吃饭。好。",
        &["今天天气很好我们大家一起去公园里面散步然后回家\n吃饭。", "好。"],
    ),
    ("", "قائمة\nتفاح\nخبز", &["قائمة", "تفاح", "خبز"]),
    ("de", "Einkauf\nÄpfel\nBrot und\nButter", &["Einkauf", "Äpfel", "Brot und\nButter"]),
    ("fr", "Liste de\nMarie\nPommes", &["Liste de\nMarie", "Pommes"]),
    ("", "Chapter One\nIt was late. He slept.", &["Chapter One", "It was late.", "He slept."]),
    (
        "",
        "Roses are red\nViolets are blue\n\nSugar is sweet\nAnd so are you",
        &["Roses are red", "Violets are blue", "Sugar is sweet", "And so are you"],
    ),
];

fn settings(language: &str) -> Segmentation {
    Segmentation { language: Some(language.to_owned()).filter(|l| !l.is_empty()), ..Segmentation::default() }
}

/// Takes the texts of the complete segments.
pub(super) fn texts(segmenter: &mut Segmenter) -> impl Iterator<Item = String> {
    std::iter::from_fn(|| segmenter.next_segment()).map(|segment| segment.text)
}

/// Takes the text of the next segment.
fn next_text(segmenter: &mut Segmenter) -> Option<String> {
    segmenter.next_segment().map(|segment| segment.text)
}

/// Returns the segments of a text that arrives in these fragments.
fn segments<'a>(settings: &Segmentation, fragments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut segmenter = Segmenter::new(settings.clone());
    let mut segments = Vec::new();
    for fragment in fragments {
        segmenter.push(fragment);
        segments.extend(texts(&mut segmenter));
        if let Some(mark) = &segmenter.mark {
            // The text that a decision reads is bounded.
            assert!(segmenter.buffer.len() - mark.next <= 3 * MAX_WORD_BYTES, "{:?}", segmenter.buffer);
        }
    }
    segmenter.finish();
    segments.extend(texts(&mut segmenter));
    assert_eq!(segmenter.buffered_chars(), 0);
    segments
}

fn characters(text: &str) -> Vec<&str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect()
}

/// Random numbers (xorshift64) with a fixed seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn fragments<'a>(&mut self, text: &'a str) -> Vec<&'a str> {
        let characters = characters(text);
        let mut fragments = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let mut end = at;
            for c in characters[text[..at].chars().count()..].iter().take(1 + self.below(7)) {
                end += c.len();
            }
            fragments.push(&text[at..end]);
            at = end;
        }
        fragments
    }
}

fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Checks that no text is lost, and that the segments are the same however the text is cut.
fn check_everywhere(settings: &Segmentation, text: &str) -> Vec<String> {
    let whole = segments(settings, [text]);
    assert_eq!(visible(&whole.concat()), visible(text), "{text:?}");
    for segment in &whole {
        assert!(!segment.is_empty() && segment.trim() == segment, "{text:?}: {segment:?}");
        assert!(segment.chars().count() <= settings.max_chars.max(1), "{text:?}: {segment:?}");
        assert!(segment.split_whitespace().count() <= MAX_WORDS, "{text:?}: {segment:?}");
    }
    assert_eq!(segments(settings, characters(text)), whole, "{text:?} by character");
    for (at, _) in text.char_indices() {
        assert_eq!(segments(settings, [&text[..at], &text[at..]]), whole, "{text:?} cut at {at}");
    }
    let mut random = Random(0x5eed);
    for _ in 0..10 {
        let fragments = random.fragments(text);
        assert_eq!(segments(settings, fragments.iter().copied()), whole, "{text:?} as {fragments:?}");
    }
    whole
}

#[test]
fn cases_are_segmented_as_a_reader_would() {
    let mut failures = Vec::new();
    for (language, text, expected) in CASES.iter().chain(LINES) {
        let got = check_everywhere(&settings(language), text);
        if got != *expected {
            failures.push(format!("{text:?}\n   got {got:?}\n  want {expected:?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        CASES.len() + LINES.len(),
        failures.join("\n")
    );
}

#[test]
fn settings_are_independent_of_the_fragments() {
    let joined: String = CASES.iter().map(|(_, text, _)| format!("{text} ")).collect();
    for (max_chars, min_chars, first_clause) in [
        (300, 0, true),
        (300, 40, false),
        (40, 0, false),
        (20, 30, true),
        (1, 0, false),
        (0, 0, false),
        (7, 3, true),
    ] {
        let settings = Segmentation { max_chars, min_chars, first_clause, ..Segmentation::default() };
        for (_, text, _) in CASES.iter() {
            check_everywhere(&settings, text);
        }
        let whole = segments(&settings, [joined.as_str()]);
        assert_eq!(visible(&whole.concat()), visible(&joined));
        assert_eq!(segments(&settings, characters(&joined)), whole);
    }
}

#[test]
fn random_texts_are_independent_of_the_fragments() {
    const PIECES: &[&str] = &[
        ". ",
        ".",
        "...",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "!",
        "? ",
        "\"",
        "”",
        "(",
        ")",
        "“",
        "«",
        "»",
        ", ",
        "—",
        " - ",
        "; ",
        "Dr",
        "etc",
        "I",
        "A",
        "St",
        "p.m.",
        "3",
        "12",
        "IV",
        "word",
        "Then",
        "the",
        "Elm",
        "U.S.",
        "1. ",
        "- ",
        "# ",
        "<b",
        "</b>",
        ">",
        "=\"",
        "😀",
        "👩\u{200d}💻",
        "🇳🇴",
        "e\u{301}",
        "Met\n",
        "[1",
        ":",
        "冷",
        "。",
        "」",
        "と",
        "ไทย",
        "क्षि",
        "।",
        "x\u{200d}",
        "\t",
        "\u{2029}",
        "'",
        "*",
        ":",
        "http://a.b/c",
    ];
    let mut random = Random(0xa1_0d);
    for round in 0..3_000 {
        let text: String = (0..1 + random.below(40)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let settings = Segmentation {
            language: ["en", "de", "el", "fr"].get(random.below(5)).map(|l| (*l).to_owned()),
            max_chars: [300, 60, 25, 5][random.below(4)],
            min_chars: [0, 0, 10, 80][random.below(4)],
            first_clause: round % 2 == 0,
            ..Segmentation::default()
        };
        let whole = segments(&settings, [text.as_str()]);
        assert_eq!(visible(&whole.concat()), visible(&text), "{text:?}");
        assert!(whole.iter().all(|s| s.chars().count() <= settings.max_chars), "{text:?}: {whole:?}");
        assert_eq!(segments(&settings, characters(&text)), whole, "{text:?} {settings:?}");
        let fragments = random.fragments(&text);
        assert_eq!(segments(&settings, fragments.iter().copied()), whole, "{fragments:?} {settings:?}");
    }
}

#[test]
fn hostile_text_takes_linear_work() {
    const SIZE: usize = 1 << 13;
    let patterns = [
        ".",
        "a.",
        ". ",
        "a.a. ",
        "(",
        "((((( ",
        "\"",
        "\". ",
        " ",
        "\n",
        "a\n",
        "\n\n",
        "a",
        "e\u{301}",
        "\u{301}",
        "冷",
        "。",
        "Dr. ",
        "U.S. ",
        "A. ",
        "J. - ",
        "etc. (",
        "1. ",
        "- ",
        "<",
        "<a",
        "</",
        ". </a",
        "<a \"",
        "😀",
        "🇳🇴",
        "\u{200d}",
        "ก",
        "a, ",
        "—",
        "? ",
        "...(",
        "no. I",
        "a. \n",
        ". a",
        "I. ",
        "a                                        b",
    ];
    for (max_chars, min_chars) in [(300, 0), (300, usize::MAX), (usize::MAX, 0), (usize::MAX, usize::MAX)] {
        for pattern in patterns {
            let text = pattern.repeat(SIZE / pattern.len());
            let settings = Segmentation { max_chars, min_chars, ..Segmentation::default() };
            let mut segmenter = Segmenter::new(settings);
            let mut kept = 0;
            for fragment in characters(&text) {
                segmenter.push(fragment);
                while let Some(segment) = segmenter.next_segment() {
                    kept += visible(&segment.text).len();
                }
            }
            segmenter.finish();
            kept += texts(&mut segmenter).map(|text| visible(&text).len()).sum::<usize>();
            assert_eq!(kept, visible(&text).len(), "{pattern:?}");
            let (work, chars) = (segmenter.work, text.chars().count());
            // The slowest pattern keeps the longest lookahead open; quadratic time would take thousands.
            assert!(
                work <= 150 * chars,
                "{pattern:?} with {max_chars}, {min_chars}: {work} steps for {chars}"
            );
        }
    }
}

#[test]
fn segment_ends_as_soon_as_it_can() {
    for (text, expected) in [
        ("Hello there.", None),
        ("Hello there. ", None),
        ("Hello there. W", Some("Hello there.")),
        ("Hello there.\n\n", Some("Hello there.")),
        ("A heading\n\n", Some("A heading")),
        ("Nuts, etc. w", None),
        ("Nuts, etc. W", Some("Nuts, etc.")),
        ("The U.S. Sena", None),
        ("At 5 p.m. They", None),
        ("At 5 p.m. They ", Some("At 5 p.m.")),
        ("很好。", None),
        ("很好。我", Some("很好。")),
    ] {
        let mut segmenter = Segmenter::new(Segmentation::default());
        segmenter.push(text);
        assert_eq!(next_text(&mut segmenter).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn flush_completes_the_text_and_more_may_follow() {
    let mut segmenter = Segmenter::new(Segmentation { min_chars: 100, ..Segmentation::default() });
    let mut take = |text: &str| {
        segmenter.push(text);
        segmenter.flush();
        let taken: Vec<String> = texts(&mut segmenter).collect();
        assert_eq!(segmenter.buffered_chars(), 0);
        taken
    };
    assert_eq!(take("Hello wor"), ["Hello wor"]);
    assert_eq!(take("ld. Next"), ["ld. Next"]);
    assert!(take(" \n").is_empty());
    assert!(take("").is_empty());
    assert_eq!(take("Dr."), ["Dr."]);

    let mut segmenter = Segmenter::new(Segmentation::default());
    segmenter.push("At 5 p.m. The");
    assert_eq!(segmenter.buffered_chars(), 13);
    segmenter.flush();
    assert_eq!(segmenter.buffered_chars(), 12);
    assert_eq!(next_text(&mut segmenter).as_deref(), Some("At 5 p.m."));
    assert_eq!(next_text(&mut segmenter).as_deref(), Some("The"));
    assert_eq!(segmenter.next_segment(), None);
}

#[test]
fn short_sentences_are_joined() {
    let settings = Segmentation { min_chars: 12, ..Segmentation::default() };
    let text = "Yes. No. It is late. Go. Then we all went home. Bye.";
    assert_eq!(
        check_everywhere(&settings, text),
        ["Yes. No. It is late.", "Go. Then we all went home.", "Bye."]
    );
    // If joined sentences are too long, the end of a sentence is the best cut.
    let settings = Segmentation { min_chars: 16, max_chars: 30, ..Segmentation::default() };
    let text = "We all went in. Then, it began to rain, heavily.";
    assert_eq!(check_everywhere(&settings, text), ["We all went in.", "Then, it began to rain,", "heavily."]);
}

#[test]
fn first_segment_may_be_a_clause() {
    for (text, min_chars, expected) in [
        ("Well, I think so, too. Yes, it is.", 0, vec!["Well,", "I think so, too.", "Yes, it is."]),
        ("Well, I think so, too. Yes.", 6, vec!["Well, I think so,", "too. Yes."]),
        ("It is — as you say — late.", 0, vec!["It is —", "as you say — late."]),
        ("It is - as you say.", 0, vec!["It is -", "as you say."]),
        ("- Milk, and 1,000 eggs at 9:30.", 0, vec!["- Milk,", "and 1,000 eggs at 9:30."]),
        ("我们走，好吗？好，走。", 0, vec!["我们走，", "好吗？", "好，走。"]),
        ("Go. Well, no.", 0, vec!["Go.", "Well, no."]),
    ] {
        let settings = Segmentation { first_clause: true, min_chars, ..Segmentation::default() };
        assert_eq!(check_everywhere(&settings, text), expected);
    }
}

#[test]
fn long_text_is_cut() {
    let lengths = |settings: &Segmentation, text: &str| -> Vec<usize> {
        segments(settings, [text]).iter().map(|s| s.chars().count()).collect()
    };
    let default = Segmentation::default();
    assert_eq!(lengths(&default, &"a".repeat(450)), [200, 200, 50]);
    assert_eq!(lengths(&default, &"冷".repeat(650)), [300, 300, 50]);
    assert_eq!(lengths(&default, &"ก".repeat(650)), [300, 300, 50]);
    // Marks stay with their letter.
    assert_eq!(lengths(&default, &"xe\u{301}".repeat(100)), [199, 101]);
    let flags = segments(&Segmentation { max_chars: 7, ..default.clone() }, ["🇳🇴🇸🇪🇩🇰🇫🇮🇮🇸"]);
    assert_eq!(flags, ["🇳🇴🇸🇪🇩🇰", "🇫🇮🇮🇸"]);
    let coders = "👩\u{200d}💻".repeat(3);
    assert_eq!(lengths(&Segmentation { max_chars: 5, ..default.clone() }, &coders), [3, 3, 3]);
    // A line does not begin with its punctuation.
    let text = segments(&Segmentation { max_chars: 5, ..default.clone() }, ["今天很冷吗，我们走"]);
    assert_eq!(text, ["今天很冷", "吗，我们走"]);

    let words = |text: &str| -> Vec<usize> {
        segments(&default, [text]).iter().map(|s| s.split_whitespace().count()).collect()
    };
    assert_eq!(words(&"a ".repeat(100)), [40, 40, 20]);
    assert_eq!(words(&format!("{}a, {}", "a ".repeat(29), "a ".repeat(30))), [30, 30]);
    assert_eq!(words(&format!("{}a, {}", "a ".repeat(4), "a ".repeat(55))), [40, 20]);
    let narrow = Segmentation { max_chars: 20, ..default.clone() };
    assert_eq!(segments(&narrow, ["one two three, four five six"]), ["one two three,", "four five six"]);
    assert_eq!(segments(&narrow, ["one two three four five six"]), ["one two three four", "five six"]);
    assert_eq!(segments(&narrow, ["Exactly twenty char. But"]), ["Exactly twenty char.", "But"]);
}

#[test]
fn items_rows_and_short_lines_are_no_headings() {
    use Boundary::{Cut, Heading, Line, Paragraph, Sentence};
    let take = |clean: Clean, parts: &[&str]| -> Vec<Boundary> {
        let mut segmenter = Segmenter::new(Segmentation { clean, ..Segmentation::default() });
        parts.iter().for_each(|part| segmenter.push(part));
        segmenter.finish();
        std::iter::from_fn(|| segmenter.next_segment()).map(|segment| segment.before).collect()
    };
    let (none, markdown, html) = (Clean::None, Clean::Markdown, Clean::Html);
    for (clean, text, expected) in [
        (
            markdown,
            "Steps:\n\n- Milk\n- Bread\n- Butter\n\nDone now.",
            vec![Cut, Paragraph, Line, Line, Paragraph],
        ),
        (markdown, "- Milk\n\n- Bread\n\nDone now.", vec![Cut, Paragraph, Paragraph]),
        (markdown, "- one\n  - two\n  * three\n+ four", vec![Cut, Line, Line, Line]),
        (markdown, "1. Wash\n2. Dry\n\nDone now.", vec![Cut, Line, Paragraph]),
        (markdown, "1. Wash\n\n2. Dry\n\nDone now.", vec![Cut, Paragraph, Paragraph]),
        (markdown, "- [ ] Wash\n- [x] Dry", vec![Cut, Line]),
        (
            markdown,
            "| A | B |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nDone now.",
            vec![Cut, Line, Line, Paragraph],
        ),
        (markdown, "A | B\n---|---\nc | d\n\nDone now.", vec![Cut, Line, Paragraph]),
        (markdown, "> Milk\n>\n> Done now.\n\nEnd of it.", vec![Cut, Paragraph, Paragraph]),
        (markdown, "# Title\n\nMilk\n\nDone now.", vec![Cut, Heading, Paragraph]),
        (
            markdown,
            "Title\n===\nIt is so. Yes.\n\n## Part\n- Milk\n- Bread",
            vec![Cut, Heading, Sentence, Paragraph, Heading, Line],
        ),
        (markdown, "**Title**\n\nIt is so.", vec![Cut, Heading]),
        (markdown, "<ul>\n<li>Milk</li>\n<li>Bread</li>\n</ul>\n\nDone now.", vec![Cut, Line, Paragraph]),
        (markdown, "<li>Milk</li>\n\nDone now.", vec![Cut, Paragraph]),
        (
            html,
            "<h2>Title</h2><ul><li>Milk</li> <li>Bread</ul><p>Done</p><p>It is so.</p>",
            vec![Cut, Heading, Line, Paragraph, Paragraph],
        ),
        (html, "<table><tr><th>A<th>B</tr><tr><td>1<td>2</tr></table>Done now.", vec![Cut, Line, Paragraph]),
        (html, "<dl><dt>Milk<dd>It is white.<dt>Bread<dd>It is not.</dl>", vec![Cut, Line, Line, Line]),
        (html, "<ol><li><p>Milk</p><li><p>Bread</p></ol>", vec![Cut, Paragraph]),
        (
            html,
            "<figure><img alt=Cat><figcaption>It sleeps</figcaption></figure>Done now.",
            vec![Cut, Paragraph, Paragraph],
        ),
        (html, "<details><summary>More</summary>It is so.</details>End", vec![Cut, Paragraph, Paragraph]),
        (none, "Title\n\nIt is so.", vec![Cut, Heading]),
        (none, "Title\n\nPart\n\nIt is so.", vec![Cut, Paragraph, Heading]),
        (none, "Milk\n\nBread\n\nButter\n\nIt is so.", vec![Cut, Paragraph, Paragraph, Paragraph]),
        (none, "- Milk\n- Bread\n\nIt is so.", vec![Cut, Line, Paragraph]),
        (none, "## Title\nit is so.", vec![Cut, Heading]),
    ] {
        let whole = take(clean, &[text]);
        assert_eq!(whole, expected, "{text:?}");
        for (at, _) in text.char_indices() {
            assert_eq!(take(clean, &[&text[..at], &text[at..]]), whole, "{text:?} cut at {at}");
        }
    }
}

#[test]
fn marks_behind_a_completed_sentence_are_no_words() {
    for (first, second, expected) in [
        ("I was thinking.", ".. okay", &["I was thinking.", "okay"][..]),
        ("I was thinking.", ".. Okay. Go.", &["I was thinking.", "Okay.", "Go."]),
        ("I was thinking.", " … and so", &["I was thinking.", "and so"]),
        ("Wait.", ". . it is", &["Wait.", "it is"]),
        ("Wait", "... What?", &["Wait", "What?"]),
        ("Stop", "! Go on.", &["Stop", "Go on."]),
        ("Is it", "?! No.", &["Is it", "No."]),
        ("很好", "。走吧", &["很好", "。走吧"]),
        ("He said \"Stop.", ".\" Then he left.", &["He said \"Stop.", "\" Then he left."]),
        ("Wait.", "..", &["Wait."]),
        ("It is it.", " .NET is fine.", &["It is it.", ".NET is fine."]),
        ("It is 3.", ".5 more", &["It is 3.", ".5 more"]),
        ("It is it.", ". .5 more", &["It is it.", ".5 more"]),
    ] {
        for clean in [Clean::None, Clean::Markdown, Clean::Html] {
            for committed in [true, false] {
                let mut segmenter = Segmenter::new(Segmentation { clean, ..Segmentation::default() });
                segmenter.push(first);
                if committed {
                    segmenter.commit();
                } else {
                    segmenter.flush();
                };
                second.chars().for_each(|c| segmenter.push(c.encode_utf8(&mut [0; 4])));
                segmenter.finish();
                assert_eq!(texts(&mut segmenter).collect::<Vec<_>>(), expected, "{first:?}, {second:?}");
            }
        }
    }
    // Without a wait they stay.
    assert_eq!(segments(&Segmentation::default(), ["... and so it is."]), ["... and so it is."]);
}

#[test]
fn long_text_is_not_cut_within_atoms() {
    const ATOMS: &[&str] = &[
        "$3.50",
        "€ 3.50",
        "3.14159",
        "1,299.99",
        "1 000 000",
        "e.g. apples",
        "Dr. Okafor",
        "Prof. J. Lee",
        "No. 5",
        "Fig. 12",
        "10 km/h",
        "20 %",
        "5 kg",
        "-5 °C",
        "9:45 p.m.",
        "5 pm",
        "10:30",
        "2024-03-12",
        "12.03.2024",
        "3 May 2025",
        "Jan. 5",
        "5 – 7 cm",
        "+1 555 0142",
        "(555) 123-4567",
        "a.b@example.org",
        "www.example.org",
        "x.y/z/file.txt",
        "v1.10.2",
        "10.0.0.1",
        "U.S.",
        "½ cup",
        "8.5\" x 11\"",
        "5th Ave.",
        "World War II",
        "5 ft 2 in.",
        "6 lb 3 oz",
        "Henry VIII",
        "p < 0.05",
        "iOS 17.2",
        "5 fl oz",
    ];
    for atom in ATOMS {
        for fill in
            ["it is what we say of ", "Now, that the others have left for good, ", "every one of the "]
        {
            for before in 0..fill.len() {
                let start = fill[before..].trim_start();
                let text = format!("{start}{atom} in all of the known cases that we have");
                for max_chars in 20..=50 {
                    let settings = Segmentation { max_chars, ..Segmentation::default() };
                    let found = segments(&settings, [text.as_str()]);
                    assert!(found.iter().any(|segment| segment.contains(atom)), "{max_chars}: {found:?}");
                    assert!(found.iter().all(|segment| segment.chars().count() <= max_chars), "{found:?}");
                    assert_eq!(found.join(" "), text);
                }
            }
        }
    }
    let narrow = Segmentation { max_chars: 20, first_clause: true, ..Segmentation::default() };
    assert_eq!(
        segments(&narrow, ["On May 5, 2024 it began, and so"]),
        ["On May 5, 2024 it", "began, and so"]
    );
    let chinese = Segmentation { max_chars: 6, ..Segmentation::default() };
    assert_eq!(segments(&chinese, ["这个价格是3.14元吗"]), ["这个价格是", "3.14元吗"]);
}

#[test]
fn language_is_found_by_its_tag() {
    for (tag, expected) in [
        (None, "en"),
        (Some("DE_at"), "de"),
        (Some("nb-NO"), "no nb nn da sv"),
        (Some("zz"), "en"),
        (Some(""), "en"),
    ] {
        assert!(Language::of(tag).is(expected), "{tag:?}");
    }
}

#[test]
fn markdown_is_cleaned_first() {
    let settings = Segmentation { clean: Clean::Markdown, ..Segmentation::default() };
    for (text, expected) in [
        ("**Note.** Read this.", vec!["Note.", "Read this."]),
        ("See [the guide](https://example.com/x.y). Ok.", vec!["See the guide.", "Ok."]),
        ("3 * 4 is 12.", vec!["3 * 4 is 12."]),
        ("👍", vec![]),
        ("# Title\n\n- Milk\n- Bread, `eggs`\n\n---\nEnd", vec!["Title", "Milk", "Bread, eggs", "End"]),
        ("Steps:\n1. **Wash** it.\n2. Dry", vec!["Steps:", "1. Wash it.", "2. Dry"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", vec!["a, b", "1, 2"]),
        ("Fish &amp; chips &ndash; &pound;9", vec!["Fish & chips – £9"]),
        ("> ```\n> x\n> ```\n\nAfter.", vec!["After."]),
        ("See [this][1].\n\n[1]: https://example.com", vec!["See this."]),
        ("Press <Ctrl+C> or <Enter> now. Go.", vec!["Press <Ctrl+C> or <Enter> now.", "Go."]),
        ("# Is it so? Yes\nText.", vec!["Is it so?", "Yes", "Text."]),
    ] {
        assert_eq!(segments(&settings, [text]), expected);
        assert_eq!(segments(&settings, characters(text)), expected);
    }
    let mut segmenter = Segmenter::new(settings);
    segmenter.push("Some **bo");
    segmenter.flush();
    assert_eq!(next_text(&mut segmenter).as_deref(), Some("Some bo"));
}

#[test]
fn html_is_cleaned_first() {
    let settings = Segmentation { clean: Clean::Html, ..Segmentation::default() };
    let page = "<html><head><title>No</title></head><body><h1>Title</h1><p>One <b>bo</b>ld word. Two</p>\n\
                <ul><li>Milk</li><li>Bread</li></ul><table><tr><td>a</td><td>b</td></tr></table></body></html>";
    let expected = ["Title", "One bold word.", "Two", "Milk", "Bread", "a, b"];
    assert_eq!(segments(&settings, [page]), expected);
    assert_eq!(segments(&settings, characters(page)), expected);
}

#[test]
fn headings_of_markup_end_as_headings() {
    for (clean, text) in [(Clean::Markdown, "# Is it so?\nText."), (Clean::Html, "<h2>Is it so?</h2>Text.")] {
        let mut segmenter = Segmenter::new(Segmentation { clean, ..Segmentation::default() });
        segmenter.push(text);
        segmenter.finish();
        let boundaries = std::iter::from_fn(|| segmenter.next_segment()).map(|segment| segment.before);
        assert_eq!(boundaries.collect::<Vec<_>>(), [Boundary::Cut, Boundary::Heading], "{text}");
    }
}

/// Found by fuzzing: the text read after a joined sentence was remembered as the word before the next one, at a
/// position that no longer existed.
#[test]
fn short_sentence_that_is_joined_leaves_no_stale_position() {
    let text = "[,\n\u{c} Q. .\u{c}\nIQ\u{c}I.\u{c}\u{c} I..\u{c}\u{c} I.\u{c}I Q. ,\u{c}\nI\u{c}I.\u{c}\u{c}+.\u{c}.\u{c}II Q.\n ";
    for max_chars in 1..=90 {
        for min_chars in 0..=max_chars / 2 {
            for clean in [Clean::None, Clean::Markdown, Clean::Html] {
                let settings = Segmentation { max_chars, min_chars, clean, ..Segmentation::default() };
                let mut segmenter = Segmenter::new(settings);
                segmenter.push(text);
                segmenter.finish();
                let segments: Vec<String> = texts(&mut segmenter).collect();
                assert!(segments.concat().contains('I'), "{max_chars}, {min_chars}");
            }
        }
    }
}

#[test]
fn serialised_segmenter_continues_with_the_same_segments() {
    const MARKDOWN: &[&str] = &[
        "# ",
        "- ",
        "> ",
        "***",
        "**",
        "_",
        "~~",
        "`",
        "```",
        "~~~",
        "\n",
        "\n\n",
        "\\",
        "!",
        "[",
        "](",
        "](a(b)",
        ")",
        "[^1]",
        "<br",
        "<a.b@c",
        ">",
        "| a |",
        "|",
        "---",
        "😀",
        "</b>",
        "<p>",
        "<td>",
        "&amp;",
        "&",
        "https://",
        "data:image/png;base64,",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "[1]: /x \"",
        "____",
        "【4†",
    ];
    let copy = |segmenter: &Segmenter| -> Segmenter {
        serde_json::from_str(&serde_json::to_string(segmenter).unwrap()).unwrap()
    };
    let mut random = Random(0xc0_91);
    for round in 0..2_000 {
        let mut text = String::new();
        for _ in 0..1 + random.below(6) {
            let cases = [CASES, LINES][random.below(2)];
            let case = characters(cases[random.below(cases.len())].1);
            let from = random.below(case.len() + 1);
            text.extend(case[from..].iter().take(random.below(40)).copied());
            text.push_str(MARKDOWN[random.below(MARKDOWN.len())]);
        }
        let settings = Segmentation {
            language: ["en", "de-AT", "el", "ca", "xx"].get(random.below(6)).map(|l| (*l).to_owned()),
            max_chars: [300, 60, 25, 5][random.below(4)],
            min_chars: [0, 0, 10, 80][random.below(4)],
            first_clause: round % 2 == 0,
            clean: [Clean::None, Clean::Markdown, Clean::Html][random.below(3)],
        };
        // The copy is serialised and read back at each step, so that no state is left out.
        let mut original = Segmenter::new(settings.clone());
        let mut copied = copy(&original);
        for fragment in random.fragments(&text) {
            original.push(fragment);
            copied.push(fragment);
            copied = copy(&copied);
            if random.below(10) == 0 {
                original.flush();
                copied.flush();
                copied = copy(&copied);
            }
            if random.below(4) == 0 {
                assert_eq!(copied.next_segment(), original.next_segment(), "{text:?} {settings:?}");
                copied = copy(&copied);
            }
            assert_eq!(copied.buffered_chars(), original.buffered_chars(), "{text:?} {settings:?}");
        }
        original.finish();
        copied.finish();
        let [segments, same] = [original, copied]
            .map(|mut segmenter| std::iter::from_fn(|| segmenter.next_segment()).collect::<Vec<_>>());
        assert_eq!(segments, same, "{text:?} {settings:?}");
    }
}

/// The boundary is the same, however the text is divided, and whether or not the sentence before was flushed.
#[test]
fn segment_tells_the_boundary_before_it() {
    use Boundary::{Cut, Heading, Line, Paragraph, Sentence};
    for (text, expected) in [
        ("One is here. Two is here.", vec![Cut, Sentence]),
        ("\n\nOne is here.\nTwo is here.", vec![Cut, Line]),
        ("- one\n- two", vec![Cut, Line]),
        ("One is here.\n\nTwo is here.", vec![Cut, Paragraph]),
        ("One is here.\n \t\r\n\r\n\nTwo.\u{2029}Three.", vec![Cut, Paragraph, Paragraph]),
        ("A heading\n\nOne is here. Two.", vec![Cut, Heading, Sentence]),
        ("One is here.\n\nA heading\n\nTwo is here.", vec![Cut, Paragraph, Heading]),
        ("One is here.\nThe end of it\n\nTwo is here.", vec![Cut, Line, Paragraph]),
        ("Dear Ann,\n\nI am here.", vec![Cut, Paragraph]),
        ("# Title\n## Part\n\nText here.", vec![Cut, Heading, Heading]),
    ] {
        let take = |segmenter: &mut Segmenter| -> Vec<Boundary> {
            std::iter::from_fn(|| segmenter.next_segment()).map(|segment| segment.before).collect()
        };
        for (at, _) in text.char_indices() {
            let mut segmenter = Segmenter::new(Segmentation::default());
            segmenter.push(&text[..at]);
            segmenter.push(&text[at..]);
            segmenter.finish();
            assert_eq!(take(&mut segmenter), expected, "{text:?} cut at {at}");
        }
        for (at, _) in text.match_indices('.') {
            let mut segmenter = Segmenter::new(Segmentation::default());
            segmenter.push(&text[..=at]);
            segmenter.flush();
            segmenter.push(&text[at + 1..]);
            segmenter.finish();
            assert_eq!(take(&mut segmenter), expected, "{text:?} flushed at {at}");
        }
    }
    let first_clause = Segmentation { first_clause: true, max_chars: 20, ..Segmentation::default() };
    let mut segmenter = Segmenter::new(first_clause);
    segmenter.push("Well, this is a sentence that is too long.");
    segmenter.finish();
    let boundaries: Vec<Boundary> =
        std::iter::from_fn(|| segmenter.next_segment()).map(|segment| segment.before).collect();
    assert_eq!(boundaries, [Cut, Cut, Cut]);
}

#[test]
fn abbreviations_before_figures_do_not_end_the_sentence() {
    for text in [
        "Read Matt. 5:3 now.",
        "Read 1 Cor. 13:4 and Ex. 20:3 now.",
        "Rom. 8:28, Phil. 4:6 and Ps. 23 help.",
        "It is Apt. 3B on Hwy. 66.",
        "Take Rte. 66 to Bldg. 7, Fl. 3 now.",
        "The Op. 27 No. 2 is known.",
        "Call ext. 12 now.",
        "A shop, est. 1999 in Rome.",
        "Come Tues. 5 pm or Wed. Jan. 5 at noon.",
        "She is 5 ft. 10 in. tall.",
        "It weighs 7 lbs. 4 oz. in all.",
        "We live in Ft. Worth now.",
    ] {
        let whole = segments(&Segmentation::default(), [text]);
        assert_eq!(whole, [text]);
        let mut chars = [0; 4];
        let mut segmenter = Segmenter::new(Segmentation::default());
        text.chars().for_each(|c| segmenter.push(c.encode_utf8(&mut chars)));
        segmenter.finish();
        assert_eq!(texts(&mut segmenter).collect::<Vec<_>>(), [text]);
    }
    for (text, first) in [
        ("I met Tim. 5 people left.", "I met Tim."),
        ("I met Matt. Then he left.", "I met Matt."),
        ("It is 5 ft. 10 people came.", "It is 5 ft."),
        ("It rained on Wed. The sun came.", "It rained on Wed."),
        ("It is 6 ft. We left.", "It is 6 ft."),
        ("He has an apt. We left.", "He has an apt."),
    ] {
        assert_eq!(segments(&Segmentation::default(), [text])[0], first, "{text}");
    }
}

#[test]
fn abbreviations_of_each_language_end_no_sentence() {
    for (language, text) in [
        ("de", "Es waren 5 Mio. € Umsatz."),
        ("de", "Es waren 3 Mrd. Euro in 2 Std. Arbeit."),
        ("de", "Die Hauptstr. 5 ist hier."),
        ("fr", "Tél. 01 23 45 67 89 ou tél. : 05."),
        ("fr", "Le 5 janv. 2020, bd. Saint-Michel."),
        ("fr", "Il y a p. ex. Paris et c.-à-d. Lyon."),
        ("es", "Los EE. UU. Mexicanos son."),
        ("es", "Los JJ. OO. de 2024 y p. ej. Roma."),
        ("en", "See Art. I of it."),
        ("en", "Fed. R. Civ. P. 12(b)(6) and Fed. R. Evid. 403 apply."),
        ("en", "See Ex. A and App. B and cl. 3 of it."),
        ("en", "The U.S. Const. amend. XIV is (9th Cir. 2001) law."),
    ] {
        let settings = Segmentation { language: Some(language.to_owned()), ..Segmentation::default() };
        assert_eq!(segments(&settings, [text]), [text]);
        assert_eq!(segments(&settings, text.split_inclusive(' ')), [text]);
    }
    for (language, text) in [
        ("de", "Es waren 3 Mio. Das ist viel."),
        ("de", "Sie wohnt in der Hauptstr. Dort ist es schön."),
        ("es", "Viajó a EE. UU. Luego volvió."),
        ("en", "I like the Art. I paint it."),
        ("en", "She said no. I do not."),
    ] {
        let settings = Segmentation { language: Some(language.to_owned()), ..Segmentation::default() };
        assert_eq!(segments(&settings, [text]).len(), 2, "{text}");
    }
}

#[test]
fn signs_that_are_words_are_segments() {
    let markdown = Segmentation { clean: Clean::Markdown, ..Segmentation::default() };
    let html = Segmentation { clean: Clean::Html, ..Segmentation::default() };
    for (settings, text, expected) in [
        (
            &Segmentation::default(),
            "Rate it.\n\n★★★★☆\n\nGood book.",
            vec!["Rate it.", "★★★★☆", "Good book."],
        ),
        (&markdown, "Rate it.\n\n★★★★☆\n\nGood book.", vec!["Rate it.", "★★★★☆", "Good book."]),
        (&markdown, "Done?\n\n- ✓\n- ✗", vec!["Done?", "✓ ✗"]),
        (&Segmentation::default(), "∞", vec!["∞"]),
        (&Segmentation::default(), "Which key?\n\n⌘", vec!["Which key?", "⌘"]),
        (&Segmentation::default(), "Which sign?\n\n+\n\nYes.", vec!["Which sign?", "+", "Yes."]),
        (&markdown, "Which sign?\n\n%", vec!["Which sign?", "%"]),
        (&html, "<p>Which sign?</p><p>€</p>", vec!["Which sign?", "€"]),
    ] {
        let found = segments(settings, [text]);
        let words = |parts: &[String]| parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&found), expected.join(" "), "{text}");
        assert!(found.iter().all(|segment| language::is_speakable(segment)), "{found:?}");
        assert_eq!(found[0], expected[0], "{text}");
    }
    for sign in ["✕", "♘", "♀", "➖", "⠃⠗", "🂡", "✅", "+", "%", "&", "=", "©", "$", "€", "§", "⌥", "№"]
    {
        assert!(language::is_speakable(sign), "{sign}");
    }
    for silent in ["...", "— -", "* * *", "====", "😀", "−", "⋯", "+++", "$$$", "= =", "&&"] {
        assert!(!language::is_speakable(silent), "{silent}");
    }
}

/// Segments of a text that is pushed whole and by characters, which have to be the same.
fn both_ways(language: &str, text: &str) -> Vec<String> {
    let settings = Segmentation { language: Some(language.to_owned()), ..Segmentation::default() };
    let whole = segments(&settings, [text]);
    assert_eq!(segments(&settings, characters(text)), whole, "{text}");
    whole
}

#[test]
fn abbreviations_behind_other_text_end_no_sentence() {
    for (language, texts) in [
        (
            "en",
            "‘Mr. Holmes’ is he.|‘Dr. Watson,’ said he.|‘St. Paul’s is shut.’|“‘Mr. Smith,’ he said.”|‘No. 10 is too.’|\
             ‘Fig. 3’ shows it.|‚Dr. Lee‘ came.|‹Dr. Lee› came.|»Dr. Lee« came.|Well…Dr. Lee came.|\
             Well...Dr. Lee came.|Mr./Mrs. Smith came.|Dr./Prof. Lee came.|Name:Dr. Lee.|Name=Dr. Lee.|_Dr. Lee_ came.|\
             _Mr._ Lee came.|an ex-Gov. Smith came.|a Lt.-Col. Smith came.|a Lt.-Gov. Smith came.|(see:Fig. 3)|\
             [Dr. Lee] came.|a+Mr. Lee came.|Tom&Mrs. Lee came.",
        ),
        ("de", "»Dr. Müller« kam.|›Dr. Müller‹ kam.|‚Dr. Müller‘ kam.|Hr./Fr. Müller kam.|Name:Dr. Müller."),
        ("fr", "«M. Dupont» est ici.|M./Mme. Dupont vient.|‹M. Dupont› vient."),
        ("es", "«Sr. Gómez» vino.|Sr./Sra. Gómez vino.|‘Dr. Gómez’ vino."),
    ] {
        for text in texts.split('|') {
            assert_eq!(both_ways(language, text), [text]);
        }
    }
    for (text, count) in [
        ("‘It is all.’ She left.", 2),
        ("He/she. Then they.", 2),
        ("It is the kids'. Then we left.", 2),
        ("‘I said no. Then I left.’", 2),
    ] {
        assert_eq!(both_ways("en", text).len(), count, "{text}");
    }
}

#[test]
fn abbreviations_before_names_and_figures_end_no_sentence() {
    for text in [
        // Law.
        "Pub. L. No. 111-148 and Treas. Reg. § 1.61-1 hold.",
        "Exec. Order No. 13,769 and H. Res. 5 hold.",
        "Cal. Civ. Code § 3 and N.Y. Gen. Bus. Law § 349 hold.",
        "See 112 Harv. L. Rev. 193 and Fla. Stat. § 5 and Ga. Code Ann. § 5 now.",
        "Dkt. No. 45 and Tr. 45:2 and Rev. Rul. 99-7 hold.",
        "The 111th Cong., 2d Sess. 5 ended.",
        // Streets.
        "1600 Pennsylvania Ave. NW is known.",
        "We live at 5 Elm Blvd. Apt. 3 here.",
        // Titles.
        "Ask Attn. John and Pvt. Ryan and Mme. Curie now.",
        "Ask Sec. Blinken at Pt. Reyes now.",
        "Sr. Mary came.",
        "Ask Assoc. Prof. Lee and Asst. Prof. Kim now.",
        "Ask Brig. Gen. Lee and Atty. Gen. Kim and Rt. Hon. Lee now.",
        "Ask Det. Lee and Insp. Kim and Dir. Lee now.",
        "It is of the Oxford Univ. Press now.",
        // Labels.
        "It has max. 5 users and min. 3 users and avg. 5 users.",
        "Max. 5 users may come.",
        "See Eqs. 3 and Thm. 3 and Prop. 3 and Def. 3 now.",
        "See pt. II and bk. IV and vv. 12–14 and ll. 45–50 and mm. 5–8 now.",
        "See op. 5 and rm. 5 now.",
        "Qty. 3 and Wt. 5 lb and Ht. 6 ft and Temp. 5 and Cat. 5 are here.",
        "See Ref. 12 and Pop. 5,000 and Elev. 1,200 ft and Pg. 5 and Acct. 5 and Mk. II now.",
        "See Fig. S1 and refs. 12–14 and ref. [5] and Tab. 1 and App. A now.",
        "Read Gen. 1 and Rom. 8 and Isa. 40 and Prov. 3 and Matt. 5 and so on.",
        // Recipes.
        "8 oz. (1 stick) butter",
        "Use a 5-6 qt. Dutch oven.",
        "4 oz. Parmesan cheese",
        "1 ½ tsp. Italian seasoning",
        "Add 3 tbsp. Dijon mustard and stir.",
        "1 lb. Italian sausage",
        "1 pt. Heavy cream",
        "1 pkg. Jell-O",
        "Add 3 oz. (85 g) cheese and 2 tbsp. (30 ml) oil now.",
        "1 (1 oz.) Packet",
        "Per cup: 5 g fat (sat. 3 g) here.",
        "She is 5 ft. 10 in. 180 lb. or so.",
    ] {
        assert_eq!(both_ways("en", text), [text]);
    }
    for (text, first) in [
        ("It weighs 5 lb. It is heavy.", "It weighs 5 lb."),
        ("Add 1 tsp. Stir well.", "Add 1 tsp."),
        ("Bake 10 min. Serve hot.", "Bake 10 min."),
        ("He lost 5 lb. Ana lost 3.", "He lost 5 lb."),
        ("I met Max. 5 people left.", "I met Max."),
        ("I live on Park Ave. She does too.", "I live on Park Ave."),
        ("He lives in Tampa, Fla. Police said so.", "He lives in Tampa, Fla."),
        ("I took the bus. Bob left.", "I took the bus."),
        ("He is 5 ft. 10 in. 3 people saw him.", "He is 5 ft. 10 in."),
        ("Wait a sec. Bob is here.", "Wait a sec."),
        ("He sat. 3 people left.", "He sat."),
        ("I said it to J. K. No. I did not.", "I said it to J. K."),
        ("He got a pt. Then he left.", "He got a pt."),
    ] {
        assert_eq!(both_ways("en", text)[0], first, "{text}");
    }
}

#[test]
fn abbreviations_of_other_languages_before_names_end_no_sentence() {
    for (language, texts) in [
        (
            "de",
            "Es sind mind. 3 und max. 5 da.|Nach 5 Min. Pause ging es.|Es gilt gem. § 5 und lt. Meier.|\
             Siehe Az. 3 und Rn. 5 und Ziff. 3 hier.|Die ev. Kirche und die kath. Kirche.|Am Di. 5. März kam er.|\
             »z. B.« und »3. Mai« hier.",
        ),
        ("fr", "Chez éd. Seuil et max. 5 ici.|Voir al. 2 et th. 6 ici.|‘p. ex.’ Paris.|…M. Dupont vient."),
        (
            "es",
            "La Dra. Gómez vino.|Son aprox. 3 de km. 5 aquí.|La Cía. López vende.|…EE. UU. Mexicanos son.",
        ),
        (
            "en",
            "See Phys. Rev. Lett. 12 and J. Am. Chem. Soc. 2019 now.|Ask Geo. Washington now.|\
             We live at 9 K St. NW now.|Send it to 9 Bay Rd. P.O. Box 5 now.|Then n! - 1 is it.|\
             1. e4 e5 2. Nf3 Nc6 3. Bb5 a6|Live at 400 5th Ave. New York, NY now.|\
             At 9 Elm St. Springfield, IL 62701 it is.|A 5 gm. (half) dose.|Use 2 Tbs. Italian oil.|\
             Train 5 dep. 14:05 Plat. 4 and arr. 16:47 now.|It is 2s. 6d. now.|See part nos. AB-1024/R2 now.|\
             IV. Results of it|it was 3 hr. ago and i went|\
             in the amt. of $5 it was|Now pop. 1,234 and elev. 456 ft it is",
        ),
        ("fr", "Train dép. 14h05 et arr. 16h47 ici.|Ouvert sam. 10 h ici."),
        ("es", "Tren sal. 14:05 y lleg. 16:47 aquí.|Abierto sáb. 10 h aquí."),
        (
            "de",
            "Ab 14:05 Uhr Gl. 7 hier.|Mit 1 Pkg. Backpulver hier.|Er ist dt. Meister und engl. König.|Der ehem. Minister und die sog. Elite.",
        ),
    ] {
        for text in texts.split('|') {
            assert_eq!(both_ways(language, text), [text]);
        }
    }
    for (language, text) in [
        ("de", "Das ist das Max. Er kommt."),
        ("de", "Es dauert 5 Min. Dann kommt er."),
        ("en", "Stop! - he said."),
        ("en", "It was 3. Bob left."),
        ("en", "Here I am. The rest left."),
        ("en", "I drove 10 kms. The road was long."),
        ("en", "They live on 5th Ave. Bob likes it."),
        ("en", "They live on 5th Ave. Bob Lee, their son, likes it."),
    ] {
        assert_eq!(both_ways(language, text).len(), 2, "{text}");
    }
}

#[test]
fn abbreviations_of_people_who_paste_end_no_sentence() {
    let one = [
        "2 Tbs. Oil and 1 c. Freekeh",
        "Add 2 Tbs. Harissa to the pot",
        "1 TBSP. Oil",
        "1 pkt. Yeast",
        "Qty 3 @ $19.99 ea. = $59.97",
        "The train is Arr. 12:40",
        "Act II, Sc. 3",
        "By Sgt. Maj. (ret.) Doe of Co. B",
        "A song ft. Rihanna",
        "It has rev. $89.5B and mi. 3.2",
        "Jos. Smith came",
        "We met in Fort Worth, St. Louis and Rome",
        "max. speed is high",
        "five min. later",
        "On Sun. May 5",
        "Reg. (EU) 2016/679",
        "P. Mahomes threw it",
        "4. O-O Nf6",
        "See pp. 12 ff. and 15",
        "See Fig. A for more",
        "Thurs. & Fri.",
        "It is Lat. 40.7, avail. 6/1",
        "George P. Bush won",
        "Price excl. VAT is 5",
        "He went to the Intl. Airport",
        "add 2 tbsp. oil and stir",
        "milk, 2 tbsp. warm",
    ];
    for text in one {
        assert_eq!(both_ways("en", text), [text], "{text}");
    }
    let two = [
        ("It weighs 3 oz.", "Ship it."),
        ("Use 3 tbsp.", "Stir well."),
        ("It took 5 ms.", "Then we left."),
        ("See pp. 12 ff.", "The book ends."),
        ("It is Sun.", "May I go?"),
        ("i went home.", "then i slept."),
    ];
    for (first, second) in two {
        assert_eq!(both_ways("en", &format!("{first} {second}")), [first, second]);
    }
    assert_eq!(both_ways("de", "Die GmbH & Co. KG und 80 % rel. Luftfeuchte").len(), 1);
}

#[test]
fn bullets_numbers_and_marks_begin_lines() {
    let cases: &[(&str, &[&str])] = &[
        ("■ First\n● Second\n► Third\n➤ Fourth", &["■ First", "● Second", "► Third", "➤ Fourth"]),
        ("(1) Apples\n(2) Pears", &["(1) Apples", "(2) Pears"]),
        ("a. apples\nb. pears", &["a. apples", "b. pears"]),
        ("> Hello there\n> Second line", &["> Hello there", "> Second line"]),
        ("-----Original Message-----\nHi Tom", &["-----Original Message-----", "Hi Tom"]),
        ("⚠ Hot\n☎ 555-0100", &["⚠ Hot", "☎ 555-0100"]),
        ("It is ▲\n5 of it", &["It is ▲", "5 of it"]),
    ];
    for (text, expected) in cases {
        assert_eq!(both_ways("en", text), *expected, "{text}");
    }
}

#[test]
fn units_behind_a_hyphen_end_no_sentence() {
    for unit in "oz lb ft min hr yr cm kg in gal qt pt sec wk mo ml km mi fl sq ct pk".split(' ') {
        for text in [
            format!("a 5-{unit}. thing here"),
            format!("Buy a 5-{unit}. thing here"),
            format!("one 2-{unit}. Lodge thing"),
            format!("two 14.5-{unit}.\nthings"),
        ] {
            assert_eq!(both_ways("en", &text), [text.as_str()]);
        }
    }
    for text in [
        "2 8-oz. packages",
        "a half-gal. jug",
        "a 12-fl.-oz. can",
        "a 6-sq.-ft. rug",
        "use a 9-in. (23-cm) pan",
        "a 3-hr. tour and 6-ft. man",
    ] {
        assert_eq!(both_ways("en", text), [text]);
    }
    for (first, second) in [("Take the 5-oz.", "It is here."), ("a well-in.", "and more")] {
        assert_eq!(both_ways("en", &format!("{first} {second}")), [first, second]);
    }
}

#[test]
fn ranges_of_days_and_months_end_no_sentence() {
    for text in [
        "Mon.-Fri. 9-5",
        "Mon. - Fri. 9-5",
        "Mon. – Fri. 9-5",
        "Mon. - Friday 9-5",
        "Tues.-Thurs. 10 a.m. to 4 p.m.",
        "Mon-Fri. 9-5",
        "Sun. - Thu. 8 am",
        "Jan.-Mar. 2024 was cold.",
        "Sept. - Nov. 2024",
        "Sales in Oct.-Dec. rose.",
    ] {
        assert_eq!(both_ways("en", text), [text]);
    }
    for (first, second) in [("Open Mon.-Fri.", "We close at 5."), ("We met in Jan.", "- He left.")] {
        assert_eq!(both_ways("en", &format!("{first} {second}")), [first, second]);
    }
}

#[test]
fn abbreviations_before_figures_and_places_end_no_sentence() {
    for text in [
        "See par. 2 of it",
        "See col. 1 and cols. 2-3",
        "See fol. 3 and nn. 5 and 6",
        "Fax. 555-1235",
        "in bottom inn. 5",
        "They won agg. 4-3",
        "See ibid. 5",
        "It is on Mass. Ave. in town",
        "It is on Penn. Ave. in town",
        "He lives in Wash. D.C. now",
    ] {
        assert_eq!(both_ways("en", text), [text]);
    }
    for (first, second) in [
        ("We slept at the inn.", "5 rooms were free."),
        ("It was below par.", "3 people left."),
        ("Send me a fax.", "Then call."),
        ("She is from Mass.", "He is not."),
    ] {
        assert_eq!(both_ways("en", &format!("{first} {second}")), [first, second]);
    }
}

#[test]
fn quotations_and_roman_items_begin_lines() {
    let cases: &[(&str, &[&str])] = &[
        ("i. third\nii. fourth\niii. The fifth", &["i. third", "ii. fourth", "iii. The fifth"]),
        (
            "I. The first\nII. second\nIII. third\nIV. fourth\nV. The fifth",
            &["I. The first", "II. second", "III. third", "IV. fourth", "V. The fifth"],
        ),
        ("ii) apples\niii) pears\n(iv) plums", &["ii) apples", "iii) pears", "(iv) plums"]),
        ("it was written by\nV. Woolf", &["it was written by\nV. Woolf"]),
        ("he said vivid\nvixen and\nin it", &["he said vivid\nvixen and\nin it"]),
        (
            "On Monday the whole team of our town wrote:\n> are you there\n> and well\n> > yes we are",
            &["On Monday the whole team of our town wrote:", "> are you there\n> and well", "> > yes we are"],
        ),
        ("Thanks for it.\n> i sent it\nlater", &["Thanks for it.", "> i sent it\nlater"]),
        ("> First. It was\n> small. Then it\n> grew", &["> First.", "It was\n> small.", "Then it\n> grew"]),
        (
            "It holds for each number of the whole set if x\n> 5 and y",
            &["It holds for each number of the whole set if x\n> 5 and y"],
        ),
        ("+------+\n| a | b\n+------+", &["+------+\n| a | b", "+------+"]),
    ];
    for (text, expected) in cases {
        assert_eq!(both_ways("en", text), *expected, "{text}");
    }
    let markdown = Segmentation { clean: Clean::Markdown, ..Segmentation::default() };
    let cases: &[(&str, &[&str])] = &[
        (
            "the whole team of our town wrote on that day\n> are you there\n> and well\nlazily",
            &["the whole team of our town wrote on that day", "are you there\nand well\nlazily"],
        ),
        ("> first of it\n> > nested one\n> > and more", &["first of it", "nested one\nand more"]),
        ("- item of it\n  > quote of it", &["item of it", "quote of it"]),
    ];
    for (text, expected) in cases {
        assert_eq!(segments(&markdown, [*text]), *expected, "{text}");
        assert_eq!(segments(&markdown, characters(text)), *expected, "{text}");
    }
}

#[test]
fn factorials_end_no_sentence() {
    for (text, expected) in [
        ("So $5! - 4! = 96$ holds. Next.", &["So $5! - 4! = 96$ holds.", "Next."][..]),
        ("$10! \\times 3! > 5$ and $(n+1)! - n!$ too.", &["$10! \\times 3! > 5$ and $(n+1)! - n!$ too."]),
        ("So 10! ÷ 8! = 90. And n! grows.", &["So 10! ÷ 8! = 90.", "And n! grows."]),
        ("Only $5! That is it. Go! - so it was.", &["Only $5!", "That is it.", "Go!", "- so it was."]),
        ("It was 3 a.m. Nobody moved.", &["It was 3 a.m.", "Nobody moved."]),
        ("Ana is 21! And 5! Wow.", &["Ana is 21!", "And 5!", "Wow."]),
    ] {
        assert_eq!(check_everywhere(&settings("en"), text), expected, "{text}");
    }
}
