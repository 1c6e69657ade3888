//! Small graphs with the names and shapes of real voices, made by the tests: they need no file.

use super::*;
use crate::tts::neural::spectra::VALUES;
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto,
};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::PathBuf;

/// A graph that grows node by node.
#[derive(Default)]
struct Maker(GraphProto);

impl Maker {
    fn new(inputs: &[&str]) -> Maker {
        let named = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), ..Default::default() };
        Maker(GraphProto { input: inputs.iter().map(named).collect(), ..GraphProto::default() })
    }

    fn node(&mut self, kind: &str, inputs: &[&str], output: &str) -> &mut NodeProto {
        self.0.node.push(NodeProto {
            name: Some(format!("make {output}")),
            op_type: Some(kind.to_owned()),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..NodeProto::default()
        });
        self.0.node.last_mut().expect("a node")
    }

    fn weight(&mut self, name: &str, dims: &[i64], kind: DataType, data: Vec<u8>) {
        self.0.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(kind),
            raw_data: Some(RefCell::new(data)),
            ..TensorProto::default()
        });
    }

    fn reals(&mut self, name: &str, dims: &[i64], values: &[f32]) {
        self.weight(
            name,
            dims,
            DataType::FLOAT,
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        );
    }

    fn wholes(&mut self, name: &str, values: &[i64]) {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.weight(name, &[values.len() as i64], DataType::INT64, data);
    }

    fn bytes(self) -> Vec<u8> {
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(self.0),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            ..ModelProto::default()
        };
        model.write_buf().expect("a graph")
    }
}

trait Attributes {
    fn int(&mut self, name: &str, value: i64) -> &mut Self;
    fn ints(&mut self, name: &str, values: &[i64]) -> &mut Self;
}

impl Attributes for NodeProto {
    fn int(&mut self, name: &str, value: i64) -> &mut Self {
        let (name, kind) = (Some(name.to_owned()), Some(AttributeType::INT));
        self.attribute.push(AttributeProto { name, i: Some(value), r#type: kind, ..Default::default() });
        self
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> &mut Self {
        let (name, kind) = (Some(name.to_owned()), Some(AttributeType::INTS));
        let ints = values.to_vec();
        self.attribute.push(AttributeProto { name, ints, r#type: kind, ..Default::default() });
        self
    }
}

/// A voice of hibari: each symbol lasts so many units of 25 ms. `order` is that of the dimensions of its
/// features before its decoder, `[0, 2, 1]`.
fn hibari_voice(units: f32, order: &[i64]) -> Vec<u8> {
    hibari_graph(units, order).bytes()
}

fn hibari_graph(units: f32, order: &[i64]) -> Maker {
    let mut graph = Maker::new(&["ids", "speed"]);
    graph.reals("zero", &[], &[0.0]);
    graph.reals("units", &[], &[units]);
    graph.wholes("one", &[1]);
    graph.wholes("two", &[2]);
    graph.wholes("row", &[1, 130]);
    graph.wholes("flat", &[-1]);
    graph.reals("pitch", &[1], &[120.0]);
    graph.reals("feature", &[1, 130, 1], &[0.01; 130]);
    graph.reals("sum", &[130, 1], &[0.5; 130]);
    graph.reals("level", &[VALUES as i64], &[1.0; VALUES]);
    graph.node("Cast", &["ids"], "real ids").int("to", 1);
    graph.node("Mul", &["real ids", "zero"], "zeros");
    graph.node("Add", &["zeros", "units"], "slow units");
    graph.node("Div", &["slow units", "speed"], "real units");
    graph.node("Reshape", &["real units", "flat"], "/Div_40_output_0");
    graph.node("Cast", &["/Div_40_output_0"], "/Cast_32_output_0").int("to", 7);
    graph.node("Unsqueeze", &["real units", "one"], "/Transpose_55_output_0");
    graph.node("ReduceSum", &["/Cast_32_output_0"], "all units").int("keepdims", 1);
    graph.node("Mul", &["all units", "two"], "frames");
    graph.node("Expand", &["pitch", "frames"], "f0");
    graph.node("Concat", &["row", "frames"], "features").int("axis", 0);
    graph.node("Expand", &["feature", "features"], "/Concat_43_output_0");
    graph.node("Transpose", &["/Concat_43_output_0"], "turned").ints("perm", order);
    graph.node("MatMul", &["turned", "sum"], "sums");
    graph.node("Mul", &["sums", "level"], "levels");
    graph.node("Add", &["levels", "level"], "/head/Add_output_0");
    graph
}

/// Symbols of the voice of Piper.
const SYMBOLS: i64 = 100;

/// A voice of Piper: each symbol lasts four frames, times the length, and its noise.
fn piper_voice() -> Vec<u8> {
    let mut graph = Maker::new(&["input", "input_lengths", "scales"]);
    graph.reals("four", &[], &[4.0]);
    graph.reals("zero", &[], &[0.0]);
    graph.wholes("first", &[0]);
    graph.wholes("second", &[1]);
    graph.wholes("third", &[2]);
    graph.wholes("samples", &[1, 1, -1]);
    graph.reals("letters", &[SYMBOLS, 192], &vec![0.01; SYMBOLS as usize * 192]);
    let wave: Vec<f32> = (0..192 * 256).map(|n| (n as f32 * 0.2).sin() * 0.2).collect();
    graph.reals("wave", &[192, 256], &wave);
    graph.node("Cast", &["input"], "real input").int("to", 1);
    graph.node("Unsqueeze", &["real input", "second"], "row");
    graph.node("Concat", &["row", "row"], "rows").int("axis", 1);
    graph.node("RandomNormalLike", &["rows"], "/dp/RandomNormalLike_output_0").int("dtype", 1);
    graph.node("Gather", &["scales", "second"], "length").int("axis", 0);
    graph.node("Gather", &["scales", "third"], "width").int("axis", 0);
    graph.node("Gather", &["/dp/RandomNormalLike_output_0", "first"], "noise").int("axis", 1);
    graph.node("Mul", &["noise", "width"], "wide noise");
    graph.node("Mul", &["length", "four"], "frames");
    graph.node("Add", &["wide noise", "frames"], "noisy frames");
    graph.node("Relu", &["noisy frames"], "/Mul_1_output_0");
    graph.node("Gather", &["letters", "input"], "embedded").int("axis", 0);
    graph.node("Transpose", &["embedded"], "/enc_p/Split_output_0").ints("perm", &[0, 2, 1]);
    graph.node("Mul", &["/enc_p/Split_output_0", "zero"], "/enc_p/Split_output_1");
    graph.node("Mul", &["/Add_output_0", "/Cast_2_output_0"], "/Mul_7_output_0");
    graph.node("Transpose", &["/Mul_7_output_0"], "frame by frame").ints("perm", &[0, 2, 1]);
    graph.node("MatMul", &["frame by frame", "wave"], "waves");
    graph.node("Reshape", &["waves", "samples"], "output");
    graph.bytes()
}

/// The settings beside a voice of Piper, with a symbol for each letter.
fn piper_settings() -> Value {
    let (needed, marks) = Alphabet::espeak_letters();
    let letters = needed.into_iter().chain(marks).enumerate();
    let map: serde_json::Map<String, Value> =
        letters.map(|(id, letter)| (letter.to_string(), json!([id]))).collect();
    json!({
        "audio": {"sample_rate": 22_050},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "language": {"code": "en_US"},
        "num_speakers": 1,
        "num_symbols": SYMBOLS,
        "phoneme_id_map": map,
    })
}

/// A folder of one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("aloud-made-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Loads a voice of Piper with these settings.
    fn piper(&self, settings: &[u8]) -> Result<Neural, VoiceFileError> {
        let path = self.0.join("voice.onnx");
        std::fs::write(&path, piper_voice()).expect("written");
        std::fs::write(self.0.join("voice.onnx.json"), settings).expect("written");
        Neural::with_threads(&[VoiceFile { name: None, path }], 1)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn made(name: &str, units: f32) -> Neural {
    load(name, &hibari_voice(units, &[0, 2, 1])).expect("a voice")
}

#[tokio::test]
async fn made_voices_of_both_kinds_speak_as_long_as_they_plan() {
    let text = "Hello there.";
    let engine = made("speaks", 4.0);
    let (samples, words) = timed(&engine, text, 1.0).await;
    let letters = spelled(&engine.reader, text).chars().count() + 2;
    // Each symbol lasts 0.1 s. The silence before the first sound is skipped.
    let seconds = samples.len() as f64 / f64::from(RATE);
    let planned = letters as f64 * 0.1;
    assert!((planned - 0.2..=planned + 0.01).contains(&seconds), "{seconds} of {planned} s");
    assert_eq!(words.len(), 2);
    let twice = said(&engine, text, 2.0).await.len() as f64;
    assert!((1.8..2.2).contains(&(samples.len() as f64 / twice)), "{twice}");
    assert_eq!(said(&engine, text, 1.0).await, samples);

    let folder = Folder::new("speaks");
    let engine = folder.piper(piper_settings().to_string().as_bytes()).expect("a voice");
    assert_eq!(
        (engine.format().sample_rate_hz, engine.voices()[0].language.as_deref()),
        (22_050, Some("en-US"))
    );
    let utterance = || Utterance::new(text, engine.format());
    let (chunks, error) = all(engine.speak(utterance())).await;
    assert_eq!(error, None);
    let frames = decoded(&chunks).len() / 256;
    // Each letter has a symbol for silence behind it.
    assert!((4 * letters..12 * letters).contains(&frames), "{frames} frames");
    assert_eq!(all(engine.speak(utterance())).await.0, chunks);
}

#[test]
fn planned_durations_have_limits() {
    let plan = |units: &[f32]| speaker::whole_frames(units, 2, 80);
    assert_eq!(plan(&[0.0, 1.0, 400.0]), Ok(vec![0, 2, 800]));
    assert_eq!(plan(&[-0.0, 1.0]), Ok(vec![0, 2]));
    for units in [401.0, -1.0, 1e9, 1e38, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let error = plan(&[1.0, units, 1.0]).expect_err("an impossible sound").to_string();
        assert!(error.contains("a sound of") && error.contains("limit 10 s"), "{units}: {error}");
    }
    assert_eq!(plan(&[400.0; 30]).expect("300 s").len(), 30);
    let error = plan(&[400.0; 31]).expect_err("310 s").to_string();
    assert!(error.contains("a sentence of") && error.contains("limit 300 s"), "{error}");
    assert!(plan(&[0.0, 0.0]).is_err() && plan(&[]).is_err());
}

#[tokio::test]
async fn a_voice_that_plans_too_much_is_refused_before_it_takes_memory() {
    for units in [500.0, 1e6, 1e9, 3e38, f32::INFINITY, -5.0] {
        let error = load("long", &hibari_voice(units, &[0, 2, 1])).expect_err("too long").to_string();
        assert!(error.contains("it plans a sound of"), "{units}: {error}");
    }
    assert!(
        load("none", &hibari_voice(f32::NAN, &[0, 2, 1]))
            .expect_err("nothing")
            .to_string()
            .contains("no sound")
    );
    // It has time for the first sentence, but not for a longer one that is spoken slowly.
    let engine = made("slow", 36.0);
    let utterance = Utterance { speed: 0.5, ..Utterance::new(LONG, PCM) };
    let (chunks, error) = all(engine.speak(utterance)).await;
    assert!(chunks.is_empty(), "nothing is spoken");
    assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
    assert!(!said(&engine, "Hello.", 1.0).await.is_empty(), "others are spoken as before");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_name_and_value() {
    let folder = Folder::new("settings");
    let scales = ["inference.noise_scale", "inference.noise_w", "inference.length_scale"];
    let wholes = ["audio.sample_rate", "num_speakers", "num_symbols", "phoneme_id_map.a"];
    let nonsense =
        ["-1", "1e9", "1e308", "-1e308", "1000000000000000000000", "\"1\"", "null", "true", "[]", "{}"];
    let mut cases = Vec::new();
    for name in scales.iter().chain(&wholes) {
        cases.extend(nonsense.map(|value| (*name, value)));
    }
    cases.extend([
        ("inference.length_scale", "0"),
        ("inference.length_scale", "100"),
        ("inference.noise_w", "20"),
    ]);
    cases.extend(wholes.iter().map(|name| (*name, "1.5")));
    cases.extend([("audio.sample_rate", "4000"), ("audio.sample_rate", "192000"), ("num_speakers", "0")]);
    cases.extend([("audio", "3"), ("inference", "[1]"), ("language", "\"en\""), ("language.code", "7")]);
    cases.extend([("phoneme_id_map", "[]"), ("phoneme_id_map.a", "[-1]"), ("phoneme_id_map.a", "[100]")]);
    cases.push(("phoneme_id_map.a", "[\"1\"]"));
    for (name, value) in cases {
        let mut settings = piper_settings();
        let path = format!("/{}", name.replace('.', "/"));
        *settings.pointer_mut(&path).expect(name) = json!("MARK");
        let text = settings.to_string().replace("\"MARK\"", value);
        let error = folder.piper(text.as_bytes()).expect_err(&format!("{name} = {value}")).to_string();
        assert!(error.contains("voice.onnx cannot be used: its .onnx.json has "), "{error}");
        assert!(error.contains(name) && error.contains("it has to be "), "{name} = {value}: {error}");
        assert!(error.len() < 400 && !error.contains("beside"), "{error}");
    }
    // Within the limits, and left out.
    for (name, value) in
        [("inference.length_scale", "5"), ("inference.noise_w", "2"), ("inference.noise_scale", "0")]
    {
        let mut settings = piper_settings();
        *settings.pointer_mut(&format!("/{}", name.replace('.', "/"))).expect(name) =
            value.parse().expect("a number");
        folder.piper(settings.to_string().as_bytes()).expect(name);
    }
    let mut settings = piper_settings();
    for name in ["inference", "language", "num_speakers", "num_symbols"] {
        settings.as_object_mut().expect("settings").remove(name);
    }
    folder.piper(settings.to_string().as_bytes()).expect("defaults");
}

#[test]
fn settings_of_a_voice_for_other_speech_are_refused_with_the_reason() {
    let folder = Folder::new("other");
    let (mut german, mut letters, mut british) = (piper_settings(), piper_settings(), piper_settings());
    german["language"]["code"] = json!("de_DE");
    letters["phoneme_type"] = json!("text");
    (british["language"]["code"], british["phoneme_type"]) = (json!("en_GB"), json!("espeak"));
    for (settings, why) in
        [(german, "is for de-DE, and neural voices speak English"), (letters, "phoneme_type")]
    {
        let error = folder.piper(settings.to_string().as_bytes()).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
    folder.piper(british.to_string().as_bytes()).expect("English");
}

#[test]
fn settings_that_are_no_settings_are_refused_with_the_reason() {
    let folder = Folder::new("json");
    for (bytes, why) in [
        (&b""[..], "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"{\"audio\": {\"sample_rate\": NaN}}", "is not valid JSON"),
        (&b"[".repeat(100_000), "is not valid JSON"),
        (b"[]", "it has to be an object"),
        (b"{}", "has no phoneme_id_map"),
        (b"{\"phoneme_id_map\": {}}", "has no phoneme_id_map for these sounds"),
    ] {
        let error = folder.piper(bytes).expect_err(why).to_string();
        assert!(error.contains("its .onnx.json ") && error.contains(why), "{error}");
    }
    let mut settings = piper_settings();
    settings["audio"] = json!({});
    let error = folder.piper(settings.to_string().as_bytes()).expect_err("no rate").to_string();
    assert!(error.contains("has no audio.sample_rate"), "{error}");
    let error = folder.piper(&vec![b' '; 1_100_000]).expect_err("too large").to_string();
    assert!(error.contains("limit 1048576"), "{error}");
    std::fs::remove_file(folder.0.join("voice.onnx.json")).expect("removed");
    let file = VoiceFile { name: None, path: folder.0.join("voice.onnx") };
    let error = Neural::with_threads(&[file], 1).expect_err("no settings").to_string();
    assert!(error.contains("has to lie beside it"), "{error}");
}

#[tokio::test]
async fn letters_that_a_voice_lacks_are_named() {
    let folder = Folder::new("letters");
    let mut settings = piper_settings();
    let map = settings["phoneme_id_map"].as_object_mut().expect("letters");
    let without = |map: &serde_json::Map<String, Value>, letters: &[&str]| {
        let mut settings = piper_settings();
        let mut map = map.clone();
        map.retain(|letter, _| !letters.contains(&letter.as_str()));
        settings["phoneme_id_map"] = Value::Object(map);
        settings.to_string()
    };
    for letter in ["a", "k", "θ", "ə", "_", "^", "$"] {
        let error = folder.piper(without(map, &[letter]).as_bytes()).expect_err(letter).to_string();
        assert!(error.contains(&format!("for these sounds of English: {letter};")), "{error}");
    }
    let only = json!({"phoneme_id_map": {"a": [1]}, "audio": {"sample_rate": 22_050}}).to_string();
    let error = folder.piper(only.as_bytes()).expect_err("one letter").to_string();
    assert!(error.contains(" ə ") && error.contains(" ʒ ") && !error.contains(" a "), "{error}");
    // Rare sounds have near ones, and marks can be left out.
    let rare = ["ɾ", "ᵻ", "ɚ", "ɐ", "—", ";", "ˌ", "("];
    let engine = folder.piper(without(map, &rare).as_bytes()).expect("a voice");
    let Kind::Piper(voice) = &engine.voices[0].kind else { panic!("no voice of Piper") };
    let near = [('ɾ', None), ('t', None), (';', None)];
    let (symbols, _) = voice.symbols(&near);
    assert_eq!(symbols.len(), 7, "{symbols:?}");
    assert_eq!(symbols[2], symbols[4], "a flap is spoken as a t");
}

#[test]
fn files_of_a_voice_are_regular_files_of_a_limited_size() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = Folder::new("kinds");
    let settings = piper_settings().to_string();
    let fifo = folder.0.join("pipe.onnx");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
    for path in [&fifo, &folder.0, &PathBuf::from("/dev/zero"), &PathBuf::from("/dev/null")] {
        let file = VoiceFile { name: None, path: path.clone() };
        for error in [
            file.identify().expect_err("no file"),
            Neural::load(std::slice::from_ref(&file)).expect_err("no file"),
        ] {
            assert!(error.to_string().contains("a folder, a named pipe or a device"), "{error}");
        }
        // The same beside a voice.
        folder.piper(settings.as_bytes()).expect("a voice");
        let beside = folder.0.join("voice.onnx.json");
        std::fs::remove_file(&beside).expect("removed");
        std::os::unix::fs::symlink(path, &beside).expect("a link");
        let file = VoiceFile { name: None, path: folder.0.join("voice.onnx") };
        let error = Neural::load(&[file]).expect_err("no settings").to_string();
        assert!(error.contains("its .onnx.json cannot be read: it is a folder"), "{error}");
        std::fs::remove_file(&beside).expect("removed");
    }
    // Files that say that they are empty, and are not.
    let error = files::read("/proc/self/maps".as_ref(), 100).expect_err("more than 100 bytes");
    assert!(matches!(&error, files::Unreadable::Other(why) if why.contains("limit 100")), "{error:?}");
    let large = folder.0.join("large.onnx");
    std::fs::File::create(&large).expect("a file").set_len(1 << 40).expect("a hole");
    let error = VoiceFile { name: None, path: large }.identify().expect_err("1 TB").to_string();
    assert!(error.contains("limit 536870912"), "{error}");
}

#[test]
fn orders_of_dimensions_are_checked_before_the_graph_runs() {
    for order in [&[0, 2, 2][..], &[0, 104, 1], &[0, -1, 1], &[i64::MIN, i64::MAX, 0], &[1, 2, 3]] {
        let error = load("order", &hibari_voice(4.0, order)).expect_err("no order").to_string();
        assert!(error.contains("`make turned` puts dimensions into the order"), "{order:?}: {error}");
    }
    // The library panics at these. The loader catches it.
    for order in [&[1, 0][..], &[0, 1, 2, 3]] {
        let error = load("rank", &hibari_voice(4.0, order)).expect_err("no order").to_string();
        assert!(error.contains("cannot be used"), "{order:?}: {error}");
    }
}

#[test]
fn numbers_that_shapes_are_made_of_have_a_limit() {
    let mut graph = hibari_graph(4.0, &[0, 2, 1]);
    graph.wholes("row", &[1, 1 << 40]);
    let mut other = hibari_graph(4.0, &[0, 2, 1]);
    other.node("Conv", &["f0"], "wide").ints("pads", &[1 << 40, -(1 << 40)]);
    for (graph, name) in [(graph, "its weight `row`"), (other, "its node `make wide`")] {
        let error = load("whole", &graph.bytes()).expect_err("too large").to_string();
        assert!(error.contains(name) && error.contains("1099511627776 (limit 4096)"), "{error}");
    }
}

#[test]
fn a_made_voice_with_one_byte_changed_is_refused_or_speaks() {
    let whole = hibari_voice(1.0, &[0, 2, 1]);
    let mut state = 7_u64;
    for at in (0..whole.len().min(1_700)).step_by(17) {
        let mut changed = whole.clone();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        changed[at] = (state >> 56) as u8;
        if let Err(error) = load("byte", &changed) {
            assert!(error.to_string().contains("cannot be used"), "{at}: {error}");
        }
    }
}

#[tokio::test]
async fn a_listener_that_leaves_between_windows_ends_the_work() {
    let engine = made("leaves", 4.0);
    let running = Gauge::default();
    let text = [LONG; 4].join(" ");
    let utterance = Utterance { running: running.clone(), ..Utterance::new(text, PCM) };
    let mut speech = engine.speak(utterance);
    assert!(matches!(soon(speech.next()).await, Some(Ok(Piece::Audio(_)))));
    drop(speech);
    idle(&running).await;
    // The pool has one thread, which is free for the next one.
    assert!(!said(&engine, "Hello.", 1.0).await.is_empty());
}
