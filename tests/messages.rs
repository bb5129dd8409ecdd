//! A stack that does not fit together says what to do, in our words.
//!
//! Each file in `messages/` must fail to compile, with the texts that its `//!` lines name
//! somewhere in the output: compilers reword the rest.

use std::{collections::BTreeMap, env, fs, path::Path, process::Command};

#[test]
fn a_stack_that_does_not_fit_says_what_to_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    fs::create_dir_all(&work).unwrap();
    fs::copy(root.join("Cargo.lock"), work.join("Cargo.lock")).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"messages\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         buttress-core.path = {:?}\nbuttress-http = {{ path = {:?}, default-features = false }}\n\
         buttress-retry.path = {:?}\n\
         bytes = \"1\"\nhttp = \"1\"\nhttp-body = \"1\"\nhttp-body-util = \"0.1\"\npin-project-lite = \"0.2\"\n\
         tokio = {{ version = \"1\", features = [\"sync\", \"time\"] }}\ntower-layer = \"0.3\"\ntower-service = \"0.3\"\n\
         tower = {{ version = \"0.5\", default-features = false, features = [\"util\"] }}\n",
        root.join("crates/core"),
        root.join("crates/http"),
        root.join("crates/retry"),
    );
    let mut expected = BTreeMap::new();
    for entry in fs::read_dir(root.join("tests/messages")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&path).unwrap();
        let texts: Vec<_> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! ").map(str::to_owned))
            .collect();
        assert!(!texts.is_empty(), "{name} expects nothing");
        // Texts for us would be docs in the wrong place for the compiler.
        fs::create_dir_all(work.join("src/bin")).unwrap();
        let plain = source
            .replace("//! ", "// ")
            .replace("\"../toys", &format!("\"{}/tests/toys", root.display()));
        fs::write(work.join(format!("src/bin/{name}.rs")), plain).unwrap();
        manifest += &format!("[[bin]]\nname = {name:?}\n");
        expected.insert(name, texts);
    }
    fs::write(work.join("Cargo.toml"), manifest).unwrap();

    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "check",
            "--keep-going",
            "--offline",
            "--message-format",
            "json",
        ])
        .current_dir(&work)
        .env("CARGO_TARGET_DIR", work.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let mut said = BTreeMap::<String, String>::new();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: serde_json::Value = serde_json::from_slice(line).unwrap();
        if message["message"]["level"] == "error" {
            let name = message["target"]["name"].as_str().unwrap().to_owned();
            *said.entry(name).or_default() += message["message"]["rendered"].as_str().unwrap();
        }
    }
    let log = String::from_utf8_lossy(&output.stderr);
    for (name, texts) in expected {
        let said = said
            .get(&name)
            .unwrap_or_else(|| panic!("{name} should not compile:\n{log}"));
        for text in texts {
            assert!(
                said.contains(&text),
                "{name}: nothing says {text:?}:\n{said}"
            );
        }
    }
}
