//! What definitions become.

mod arrival;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Definition, DefinitionError, Inputs};
use crate::image::Reference;

fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("def").tempdir().unwrap()
}

/// The text with the scratch directory's path left out.
fn rendered(definition: &Definition) -> Result<String, DefinitionError> {
    let scratch = scratch();
    let recipe = definition.recipe()?;
    let inputs = Inputs::gather(&recipe, scratch.path())?;
    assert_eq!(inputs.hash(), recipe.fingerprint()?);
    let path = scratch.path().to_str().unwrap();
    Ok(inputs.text(|_| None)?.replace(path, "SCRATCH"))
}

#[test]
fn a_definition_is_written_section_by_section() {
    let folder = scratch();
    fs::write(folder.path().join("my tool"), "x").unwrap();
    fs::create_dir(folder.path().join("conf")).unwrap();
    let definition = Definition::from_image("docker://debian:12")
        .files(folder.path().join("my tool"), "/usr/local/bin/")
        .files(folder.path().join("conf"), "/etc/my conf")
        .file_with("y", "/a/\"b\"/c", 0o600)
        .post("true")
        .post("false")
        .environment("NAME", "it's {{ here }}")
        .runscript("\n#!/bin/bash\necho \"$@\"")
        .test("test -e /a")
        .label("org.example", "a b")
        .help("Use it.");
    let expected = r#"Bootstrap: docker
From: docker.io/library/debian:12

%files
    "SCRATCH/0/my*tool" "/usr/local/bin/my tool"

%files
    "SCRATCH/1/copy/." "/etc/my conf"

%files
    "SCRATCH/2/copy/." "/a"

%post
true
false

%environment
export NAME='it'"'"'s {{ apptainer_rs_braces }} here }}'


%runscript
#!/bin/bash
echo "$@"

%test
test -e /a

%labels
    org.example a b


%help
Use it.

%arguments
    apptainer_rs_braces={{
"#;
    assert_eq!(rendered(&definition).unwrap(), expected);
}

#[test]
fn copies_lie_where_the_text_says_so() {
    let scratch = scratch();
    let source = scratch.path().join("a%b");
    fs::write(&source, "1").unwrap();
    let copies = scratch.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let definition = Definition::from_image("a.sif")
        .files(&source, "/x")
        .file_with("2", "/y/\"/z", 0o640)
        .file_with("3", OsStr::from_bytes(b"/\xff"), 0o600);
    let recipe = definition.recipe().unwrap();
    let inputs = Inputs::gather(&recipe, &copies).unwrap();
    let read = |path: &[u8]| fs::read(copies.join(OsStr::from_bytes(path))).unwrap();
    assert_eq!(read(b"0/copy"), b"1");
    assert_eq!(read(b"1/copy/\"/z"), b"2");
    assert_eq!(read(b"2/copy/\xff"), b"3");
    let mode = |path: &str| {
        fs::metadata(copies.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("1/copy/\""), mode("1/copy/\"/z")), (0o755, 0o640));
    let text = inputs.text(|_| None).unwrap();
    assert!(text.contains("/2/copy/.\" \"/\"\n"), "{text}");
}

#[test]
fn a_definition_file_copies_from_the_scratch_directory() {
    let folder = scratch();
    let path = folder.path().to_str().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    for name in ["1.txt", "2 $.txt"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let text = format!(
        "# about\nBootstrap: localimage\nFrom: {{{{ base }}}}\nStage: one\n\n%setup\n    true\n\
         Bootstrap: docker\nFrom: debian\n%files\n  # no\n  {path}/*.txt /t/\n  {path}/d/. \n\
         %files from one\n  /a /b\n%appfiles tool\n  {path}/1.txt # c\n"
    );
    let definition = Definition::from_text(text).argument("base", "/base.sif");
    let recipe = definition.recipe().unwrap();
    assert!(recipe.has_host_script());
    let bases = ["/base.sif", "docker://debian"].map(|text| Reference::parse(text).unwrap());
    assert_eq!(recipe.bases(), bases);
    let text = rendered(&definition).unwrap().replace(path, "PATH");
    let expected = r#"# about
Bootstrap: localimage
From: /base.sif
Stage: one

%setup
    true
Bootstrap: docker
From: debian

%files
    "SCRATCH/0/1.txt" "/t/"

%files
    "SCRATCH/1/2**.txt" "/t/"

%files
    "SCRATCH/2/copy/." "PATH/d/."
%files from one
  /a /b

%appfiles tool
    SCRATCH/3/1.txt PATH/1.txt
"#;
    assert_eq!(text, expected);

    let scratch = scratch();
    let inputs = Inputs::gather(&recipe, scratch.path()).unwrap();
    let stored = |base: &Reference| base.scheme().map(|_| PathBuf::from("/store/1.sif"));
    let text = inputs.text(stored).unwrap();
    assert!(text.contains("From: /base.sif\n"), "{text}");
    assert!(
        text.contains("\nBootstrap: localimage\nFrom: /store/1.sif\n"),
        "{text}"
    );
    assert!(!text.contains("docker"), "{text}");
}

#[test]
fn the_hash_is_of_all_that_goes_in_and_of_nothing_else() {
    let folders = [scratch(), scratch()];
    let file = |at: usize| folders[at].path().join("file");
    let write = |at: usize, text: &str| fs::write(file(at), text).unwrap();
    write(0, "1");
    write(1, "1");
    let hash = |definition: &Definition| definition.recipe().unwrap().fingerprint().unwrap();
    let text = |from: &Path, end: &str| {
        let from = from.display();
        Definition::from_text(format!("Bootstrap: scratch\n%files\n{from} /a\n{end}"))
    };
    let built = |from: &Path| Definition::from_image("docker://a").files(from, "/a");
    assert_eq!(hash(&text(&file(0), "")), hash(&text(&file(1), "")));
    assert_eq!(hash(&built(&file(0))), hash(&built(&file(1))));

    let mut seen = Vec::new();
    let mut is_new = |definition: Definition| {
        let hash = hash(&definition);
        assert!(!seen.contains(&hash), "{definition:?}");
        seen.push(hash);
    };
    is_new(text(&file(0), ""));
    is_new(text(&file(0), "%post\ntrue"));
    is_new(text(&file(0), "%post\n{{ a }}").argument("a", "1"));
    is_new(text(&file(0), "%post\n{{ a }}").argument("a", "2"));
    is_new(built(&file(0)));
    is_new(built(&file(0)).post("true"));
    is_new(Definition::from_image("docker://b").files(file(0), "/a"));
    is_new(Definition::from_image("docker://a").files(file(0), "/b"));
    let pattern = folders[0].path().join("f*");
    assert_eq!(hash(&text(&pattern, "")), hash(&text(&file(0), "")));
    fs::write(folders[0].path().join("found"), "").unwrap();
    is_new(text(&pattern, ""));
    write(0, "2");
    is_new(text(&file(0), ""));
    is_new(built(&file(0)));
}

#[test]
fn what_is_copied_is_what_is_hashed_though_the_source_changes() {
    let (folder, scratch) = (scratch(), scratch());
    let file = folder.path().join("file");
    fs::write(&file, "1").unwrap();
    let recipe = Definition::from_image("a.sif")
        .files(&file, "/a")
        .recipe()
        .unwrap();
    let before = recipe.fingerprint().unwrap();
    let inputs = Inputs::gather(&recipe, scratch.path()).unwrap();
    fs::write(&file, "2").unwrap();
    assert_eq!(inputs.hash(), before);
    assert_eq!(fs::read(scratch.path().join("0/file")).unwrap(), b"1");
    assert_ne!(recipe.fingerprint().unwrap(), before);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_done() {
    let image = || Definition::from_image("docker://debian");
    let text = |text: &str| Definition::from_text(text);
    let refused = [
        (Definition::from_image("docker://A"), "write \"a\""),
        (image().environment("A-B", ""), "\"A-B\" is no name"),
        (image().environment("UID", "1"), "are taken"),
        (image().environment("A", "\0"), "NUL"),
        (image().label("a b", "c"), "one word"),
        (image().label("a", "b\nc"), "one line"),
        (image().help("a\n %b"), "\" %b\""),
        (
            image().runscript("#!/usr/bin/perl\n%a = ();"),
            "\"%a = ();\"",
        ),
        (image().post("x".repeat(1 << 16)), "64 KiB"),
        (image().post("{{ a }}".repeat(9000)), "64 KiB"),
        (image().argument("a", "b"), "no {{ a }}"),
        (image().file_with("", "a", 0o644), "from / on"),
        (image().file_with("", "/a/", 0o644), "own"),
        (image().file_with("", "/a", 0o4755), "0o4755"),
        (image().files("/nosuch", "/a"), "No such file"),
        (text(""), "begins with a line"),
        (
            text("%post\ntrue\nBootstrap: scratch"),
            "begins with a line",
        ),
        (text("Bootstrap: docker"), "From: IMAGE"),
        (text("Bootstrap: docker\nFrom"), "\"From\""),
        (text("Bootstrap: scratch\n%pots\n"), "\"%pots\""),
        (text("Bootstrap: scratch\n%files form\n"), "%files form"),
        (text("Bootstrap: scratch\n%files from a\n"), "Stage: a"),
        (text("Bootstrap: scratch\n%files\n\"\n"), "names no file"),
        (text("Bootstrap: scratch\n%files\n/a(b /c\n"), "expand"),
        (
            text("Bootstrap: scratch\n%post\n{{ a }}"),
            "{{ a }} has no value",
        ),
        (Definition::from_file("/nosuch.def"), "/nosuch.def"),
    ];
    for (definition, expected) in refused {
        let error = rendered(&definition).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let gone = rendered(&Definition::from_file("/nosuch.def")).unwrap_err();
    assert!(gone.is_not_found());
}
