//! PKCS #11: docs/pkcs11.md, line by line, with the programs that it names, unchanged.

use crate::alone::until_up;
use crate::document::{Reader, blocks};
use crate::run::state;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// What the page's commands run besides this project's programs.
const STRANGERS: &[&str] = &["pkcs11-tool", "p11tool", "ssh-keygen", "ssh-agent", "git", "openssl"];

#[test]
fn s3_2_strangers_use_keys_of_the_tee_as_the_page_says() {
    let Some((module, python)) = prepared() else { return };
    let home = state();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut reader = Reader::at(home.path());
    let mut said = String::new();
    for block in blocks("docs/pkcs11.md") {
        let text = block
            .text
            .replace("/usr/lib/libholdfast_pkcs11.so", &module.to_string_lossy())
            .replace("python3 ", &format!("{} ", python.display()))
            .replace("127.0.0.1:14433", &format!("127.0.0.1:{port}"));
        if block.terminal {
            reader.starts(&text);
            until_up(&text, &home.path().join("holdfast-keys"));
        } else {
            said += &reader.types(&text);
        }
    }
    for due in [
        "Token successfully initialized",
        "User PIN successfully initialized",
        "No errors",
        "signed in with a key of the TEE",
        "Good \"git\" signature for me@example.org",
        "Verification: OK",
        "token=phone;id=%02;object=tls;type=private",
        "CKA_NEVER_EXTRACTABLE; CKA_SENSITIVE",
        "wrapped 24 bytes",
        "CKR_PIN_INCORRECT",
        "Verified OK",
    ] {
        assert!(said.contains(due), "{due:?} is missing in what was said:\n{said}");
    }
    guessing_ends(&mut reader);
    reader.leaves();
}

/// What python-pkcs11 tests that this module does not have, and why.
const NOT_HERE: &[&str] = &[
    // The curves P-192 and Ed448.
    "ECCTests::test_derive_key",
    "ECCTests::test_sign_ed448",
    // RSA with 512 bits.
    "X509Tests::test_verify_certificate_rsa",
];

#[test]
fn s3_2_python_pkcs11s_own_tests_pass_unchanged() {
    let Some((module, python)) = prepared() else { return };
    let Some(suite) = suite_of(&python) else {
        assert!(std::env::var_os("CI").is_none(), "python-pkcs11's tests are absent");
        eprintln!("not run: it needs python-pkcs11's source (`cargo xtask test` fetches it)");
        return;
    };
    let home = state();
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/holdfast-keys\nholdfast device make");
    reader.starts("holdfast device boot");
    until_up("holdfast device boot", &home.path().join("holdfast-keys"));
    let token = format!("pkcs11-tool --module {}", module.display());
    reader.types(&format!(
        "{token} --init-token --label suite --so-pin 12345678\n\
         {token} --init-pin --login --login-type so --so-pin 12345678 --new-pin 246810"
    ));
    let left_out: String =
        NOT_HERE.iter().map(|test| format!(" and not {}", named(test))).collect();
    let said = reader.types(&format!(
        "cp -r {}/tests . && PKCS11_MODULE={} PKCS11_TOKEN_LABEL=suite PKCS11_TOKEN_PIN=246810 \
         PKCS11_TOKEN_SO_PIN=12345678 {} -m pytest -q -p no:cacheprovider tests -k 'test_{left_out}'",
        suite.display(),
        module.display(),
        python.display(),
    ));
    let passed = said.lines().last().unwrap_or_default();
    let count: u32 = passed.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    assert!(passed.contains(" passed") && count >= 100, "{said}");
    reader.leaves();
}

/// A test as pytest's `-k` takes it.
fn named(test: &str) -> String {
    format!("({})", test.replace("::", " and "))
}

/// python-pkcs11's source distribution, beside the Python that has the package.
fn suite_of(python: &Path) -> Option<PathBuf> {
    let suites = python.parent()?.parent()?.join("suites");
    let folders = std::fs::read_dir(suites).ok()?.flatten().map(|entry| entry.path());
    folders.into_iter().find(|folder| folder.join("tests/test_rsa.py").is_file())
}

/// A PIN that was tried too often opens nothing, right or wrong, until the officer sets one.
fn guessing_ends(reader: &mut Reader) {
    let login = r#"pkcs11-tool --module "$MODULE" --login --list-objects --pin"#;
    let guesses =
        reader.types(&format!("for guess in $(seq 11); do {login} 000000 2>&1 || true; done"));
    assert!(guesses.contains("CKR_PIN_INCORRECT"), "{guesses}");
    assert!(guesses.contains("CKR_PIN_LOCKED"), "{guesses}");
    let right = reader.types(&format!("{login} 246810 2>&1 || true"));
    assert!(right.contains("CKR_PIN_LOCKED"), "{right}");
    let again = reader.types(&format!(
        "pkcs11-tool --module \"$MODULE\" --init-pin --login --login-type so --so-pin 12345678 \
         --new-pin 97531\n{login} 97531"
    ));
    assert!(again.contains("Private Key Object"), "{again}");
}

/// The module, and a Python that has python-pkcs11.
fn prepared() -> Option<(PathBuf, PathBuf)> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pkcs11");
    let module = match std::env::var_os("HOLDFAST_PKCS11") {
        Some(path) => Some(PathBuf::from(path)),
        None => std::fs::read_dir(target).into_iter().flatten().flatten().find_map(|folder| {
            Some(folder.path().join("debug/libholdfast_pkcs11.so")).filter(|path| path.exists())
        }),
    };
    let python = std::env::var_os("HOLDFAST_PYTHON").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = STRANGERS
        .iter()
        .find(|program| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if let (Some(module), Some(python), None) = (module, python, missing) {
        return Some((module.canonicalize().expect("it is there"), python));
    }
    assert!(std::env::var_os("CI").is_none(), "the module, Python or {missing:?} is absent");
    eprintln!(
        "not run: it needs libholdfast_pkcs11.so (`cargo xtask pkcs11`), HOLDFAST_PYTHON with \
         python-pkcs11, and {STRANGERS:?}"
    );
    None
}
