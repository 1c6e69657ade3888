//! Natural voices on the command line: where files are found, and what to do without one.

use super::cli::{Folder, aloud, run, text_of};

/// The two lines to paste.
fn has_recipe(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .any(|pair| pair[0].starts_with("pip download ") && pair[1].starts_with("cargo run --release"))
}

#[test]
fn without_a_voice_file_there_are_two_lines_to_paste() {
    for args in
        [&["say", "Hello.", "--engine", "neural"][..], &["serve", "--listen=127.0.0.1:0", "--engine=neural"]]
    {
        let output = run(args);
        let stderr = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("aloud: --engine neural ") && has_recipe(&stderr), "{stderr}");
    }
}

#[test]
fn voices_are_listed_with_the_way_to_more() {
    let folder = Folder::new("voices");
    let data = folder.file("data");
    std::fs::create_dir_all(format!("{data}/aloud/voices")).unwrap();
    std::fs::write(format!("{data}/aloud/voices/mine.onnx"), "no voice").unwrap();
    std::fs::write(format!("{data}/aloud/voices/readme.txt"), "no voice").unwrap();
    std::fs::write(format!("{data}/aloud/voices/.part.onnx"), "no voice").unwrap();
    let output = aloud(&["voices"]).env("XDG_DATA_HOME", &data).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && has_recipe(&stdout), "{stdout}");
    for part in ["kal16-high", "aloud/voices/mine.onnx"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(!stdout.contains("readme.txt") && !stdout.contains(".part"), "{stdout}");
}

#[cfg(feature = "neural")]
#[test]
fn voices_with_one_name_are_listed_as_such() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip("voices_with_one_name_are_listed_as_such", "the voice file");
    };
    let folder = Folder::new("names");
    let (first, second) = (folder.file("mine.onnx"), folder.file("yours.onnx"));
    std::fs::copy(&file, &first).unwrap();
    std::fs::copy(&file, &second).unwrap();
    let output = aloud(&["voices"]).env("ALOUD_VOICE_FILE", format!("{first},{second}")).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains(&format!("{second}: it is called heart as well")), "{stdout}");
}

#[cfg(feature = "neural")]
#[test]
fn a_file_in_the_folder_that_is_no_voice_stops_no_other() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip(
            "a_file_in_the_folder_that_is_no_voice_stops_no_other",
            "the voice file",
        );
    };
    let folder = Folder::new("mixed");
    let voices = folder.file("aloud/voices");
    std::fs::create_dir_all(&voices).unwrap();
    std::fs::write(format!("{voices}/a.onnx"), "no voice").unwrap();
    std::fs::copy(&file, format!("{voices}/b.onnx")).unwrap();
    let (data, wav) = (folder.file(""), folder.file("hi.wav"));
    let output = aloud(&["voices"]).env("XDG_DATA_HOME", &data).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("a.onnx: ") && stdout.contains("it is no ONNX graph"), "{stdout}");
    assert!(stdout.contains("Heart, English (US)"), "{stdout}");
    let say = ["say", "Hi.", "--engine=neural", "-o", &wav];
    let output = aloud(&say).env("XDG_DATA_HOME", &data).output().unwrap();
    let stderr = text_of(&output);
    assert!(output.status.success() && stderr.contains("a.onnx cannot be used"), "{stderr}");
    assert!(std::fs::read(&wav).unwrap().len() > 5_000);
    // A file that was asked for is another matter.
    let bad = format!("{voices}/a.onnx,{voices}/b.onnx");
    let output = run(&[&say[..], &["--voice-file", &bad]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

#[cfg(feature = "neural")]
#[test]
fn a_server_warns_about_voices_that_are_not_known() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip("a_server_warns_about_voices_that_are_not_known", "the voice file");
    };
    let folder = Folder::new("unknown");
    let mut bytes = std::fs::read(file).unwrap();
    // Another file, and the same graph: an unknown field of the message with no bytes in it.
    bytes.extend_from_slice(&[0xfa, 0x3f, 0]);
    let other = folder.file("other.onnx");
    std::fs::write(&other, bytes).unwrap();
    let mut server = aloud(&["serve", "--listen=127.0.0.1:0", "--engine=neural", "--voice-file", &other])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("is not a file that aloud is tested with") {
        line.clear();
        let count = std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        assert!(count > 0, "the server has ended");
        assert!(!line.contains("spoke its first word"), "no warning before {line}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[cfg(feature = "neural")]
#[test]
fn say_warns_about_voices_that_are_not_known() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip("say_warns_about_voices_that_are_not_known", "the voice file");
    };
    let folder = Folder::new("unknown-say");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(&[0xfa, 0x3f, 0]);
    let other = folder.file("other.onnx");
    std::fs::write(&other, bytes).unwrap();
    let known = file.into_string().unwrap();
    for (voice, warnings) in [(&other, 1), (&known, 0)] {
        let wav = folder.file("hello.wav");
        let output = run(&["say", "Hi.", "--engine=neural", "--voice-file", voice, "-o", &wav]);
        assert!(output.status.success(), "{}", text_of(&output));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.matches("is not a file that aloud is tested with").count(), warnings, "{stderr}");
    }
}

#[test]
fn the_voice_inside_says_once_that_there_are_others() {
    let folder = Folder::new("hint");
    let output = run(&["say", "One. Two.", "-o", &folder.file("hello.wav")]);
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(text_of(&output).matches("aloud voices").count(), 1, "{}", text_of(&output));
    let output = run(&["say", "One.", "--engine=tone", "-o", &folder.file("tone.wav")]);
    assert!(!text_of(&output).contains("aloud voices"), "{}", text_of(&output));
}

#[cfg(feature = "neural")]
#[test]
fn a_file_is_spoken_and_others_are_refused() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip("a_file_is_spoken_and_others_are_refused", "the voice file");
    };
    let (folder, file) = (Folder::new("neural"), file.into_string().unwrap());
    let wav = folder.file("hello.wav");
    let named = format!("ann={file}");
    let output = run(&["say", "Good evening.", "--engine=neural", "--voice-file", &named, "-o", &wav]);
    assert!(output.status.success(), "{}", text_of(&output));
    let bytes = std::fs::read(&wav).unwrap();
    assert_eq!((&bytes[..4], &bytes[24..28]), (&b"RIFF"[..], &24_000u32.to_le_bytes()[..]));
    assert!(bytes.len() > 20_000, "{} bytes", bytes.len());
    let output = aloud(&["voices"]).env("ALOUD_VOICE_FILE", &named).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Ann, English"));
    let output = run(&["say", "Hi.", "--engine=neural", "--voice-file", &wav, "-o", &wav]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    assert!(text_of(&output).contains(&wav), "{}", text_of(&output));
}

#[cfg(feature = "neural")]
#[test]
fn a_damaged_voice_is_refused_without_a_trace() {
    let Some(file) = std::env::var_os("ALOUD_TEST_VOICE") else {
        return crate::support::skip("a_damaged_voice_is_refused_without_a_trace", "the voice file");
    };
    let whole = std::fs::read(file).unwrap();
    let folder = Folder::new("damaged");
    let path = folder.file("voice.onnx");
    // Orders that are none, and orders of too few dimensions, at which the library panics.
    for order in [&[0, 2, 104, 3][..], &[1, 0]] {
        let mut model = rten_onnx::onnx::ModelProto::parse_buf(&whole).unwrap();
        let nodes = model.graph.as_mut().unwrap().node.iter_mut();
        for attribute in
            nodes.flat_map(|node| &mut node.attribute).filter(|attribute| attribute.ints.len() == 4)
        {
            attribute.ints = order.to_vec();
        }
        std::fs::write(&path, model.write_buf().unwrap()).unwrap();
        let output =
            run(&["say", "Hi.", "--engine=neural", "--voice-file", &path, "-o", &folder.file("hi.wav")]);
        let stderr = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("aloud: --engine neural: the voice file "), "{stderr}");
        assert!(!stderr.contains("panicked") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[cfg(feature = "neural")]
#[test]
fn a_named_pipe_among_the_voices_does_not_block() {
    let folder = Folder::new("pipes");
    let voices = folder.file("aloud/voices");
    std::fs::create_dir_all(&voices).unwrap();
    let made = std::process::Command::new("mkfifo").arg(format!("{voices}/pipe.onnx")).status().unwrap();
    assert!(made.success());
    let data = folder.file("");
    let output = aloud(&["voices"]).env("XDG_DATA_HOME", &data).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && stdout.contains("pipe.onnx"), "{stdout}");
    assert!(stdout.contains("a folder, a named pipe or a device"), "{stdout}");
    let say = aloud(&["say", "Hi.", "--engine=neural", "-o", &folder.file("hi.wav")])
        .env("XDG_DATA_HOME", &data)
        .output()
        .unwrap();
    assert_eq!(say.status.code(), Some(2), "{}", text_of(&say));
}
