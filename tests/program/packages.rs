//! The ways to get aloud: the package for npm, the one for Debian, the container.

use super::cli::Folder;
use crate::support;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

#[test]
fn npm_package_has_the_module_its_types_licences_and_version() {
    const NAME: &str = "npm_package_has_the_module_its_types_licences_and_version";
    if Command::new("npm").arg("--version").output().is_err() {
        return support::skip(NAME, "npm");
    }
    let folder = Folder::new("npm");
    let place = folder.file("");
    let packed = Command::new("bash").args([&format!("{ROOT}/.ci/npm"), &place]).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let version = env!("CARGO_PKG_VERSION");
    let modules = folder.file("node_modules/aloud");
    std::fs::create_dir_all(&modules).unwrap();
    let archive = folder.file(&format!("aloud-{version}.tgz"));
    let unpacked =
        Command::new("tar").args(["-xzf", &archive, "--strip-components=1", "-C", &modules]).status();
    assert!(unpacked.unwrap().success());
    for (file, source) in [
        ("aloud.js", "src/server/web/aloud.js"),
        ("aloud.d.ts", "src/server/web/aloud.d.ts"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("LICENSE-APACHE", "LICENSE-APACHE"),
    ] {
        assert!(std::fs::read_to_string(format!("{modules}/{file}")).unwrap() == read(source), "{file}");
    }
    let package = std::fs::read_to_string(format!("{modules}/package.json")).unwrap();
    let package: Value = serde_json::from_str(&package).unwrap();
    assert_eq!((&package["version"], &package["type"]), (&version.into(), &"module".into()));
    assert_eq!(package["license"], format!("({})", env!("CARGO_PKG_LICENSE")));
    // Node finds the module by the name of the package.
    let script = folder.file("app.mjs");
    std::fs::write(&script, "import { Aloud } from 'aloud'; console.log(typeof Aloud);").unwrap();
    let ran = Command::new("node").arg(&script).output().unwrap();
    assert_eq!(ran.stdout, b"function\n", "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn debian_package_names_files_that_exist() {
    let manifest = read("Cargo.toml");
    let (_, table) = manifest.split_once("[package.metadata.deb]").unwrap();
    let table = table.split("\n[").next().unwrap();
    let sources: Vec<&str> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next())
        .filter(|source| *source != "target/release/aloud")
        .collect();
    assert_eq!(sources.len(), 5, "{sources:?}");
    assert!(sources.iter().all(|source| Path::new(ROOT).join(source).is_file()), "{sources:?}");
}

#[test]
fn container_copies_files_that_exist_and_is_not_run_by_root() {
    let recipe = read(".ci/Dockerfile");
    let copies =
        recipe.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    for line in copies {
        let (sources, _) = line.rsplit_once(' ').unwrap();
        assert!(sources.split(' ').all(|source| Path::new(ROOT).join(source).exists()), "{line}");
    }
    let user = recipe.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(!user.starts_with('0') && !user.starts_with("root"), "{user}");
}

/// The command by which the container asks whether its server is well.
pub(super) fn health_check() -> Vec<String> {
    let recipe = read(".ci/Dockerfile");
    let line = recipe.lines().find_map(|line| line.strip_prefix("HEALTHCHECK CMD ")).unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
fn module_names_its_version_and_licences() {
    let manifest = read("Cargo.toml");
    let licences =
        manifest.lines().find_map(|line| line.strip_prefix("license = ")).unwrap().trim_matches('"');
    let first = format!("/*! aloud.js {}, {licences} */", env!("CARGO_PKG_VERSION"));
    assert_eq!(read("src/server/web/aloud.js").lines().next().unwrap(), first);
}
