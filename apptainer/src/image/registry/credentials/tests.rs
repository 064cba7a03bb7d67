use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A home directory, with files whose passwords are their own paths.
struct Home {
    directory: tempfile::TempDir,
    variables: Vec<(String, PathBuf)>,
    auth_file: Option<PathBuf>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let variables = vec![("HOME".to_owned(), directory.path().to_owned())];
        Self {
            directory,
            variables,
            auth_file: None,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn set(&mut self, name: &str, path: &str) {
        self.variables.push((name.to_owned(), self.path(path)));
    }

    fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A file that has credentials for this registry.
    fn log_in(&self, file: &str, registry: &str) {
        let entry = format!(r#"{{"username":"user","password":"{file}"}}"#);
        self.write(file, &format!(r#"{{"auths":{{"{registry}":{entry}}}}}"#));
    }

    fn sources(&self) -> Sources {
        let variables = self.variables.clone();
        Sources {
            given: BTreeMap::new(),
            auth_file: self.auth_file.clone(),
            config_dir: Some(self.path(".apptainer")),
            environment: Environment::new(move |name| {
                let found = variables.iter().find(|(other, _)| other == name);
                found.map(|(_, path)| path.into())
            }),
            has_variables: true,
            helper_limit: Sources::HELPER_LIMIT,
        }
    }

    async fn find(&self) -> Result<Credential, CredentialError> {
        find(&self.sources(), "example.org", "team/app").await
    }

    /// The file whose credentials are found.
    async fn file(&self) -> Option<String> {
        match self.find().await.unwrap() {
            Credential::Anonymous => None,
            Credential::Basic { password, .. } => Some(password.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn where_there_is_nothing_one_is_nobody() {
    assert_eq!(Home::new().find().await.unwrap(), Credential::Anonymous);
    let mut homeless = Home::new();
    homeless.variables.clear();
    assert_eq!(homeless.find().await.unwrap(), Credential::Anonymous);
}

#[tokio::test]
async fn files_are_read_in_order_until_one_has_the_registry() {
    let mut home = Home::new();
    home.set("XDG_RUNTIME_DIR", "run");
    let files = [
        ".apptainer/docker-config.json",
        "run/containers/auth.json",
        ".config/containers/auth.json",
        ".docker/config.json",
    ];
    for file in files {
        home.log_in(file, "example.org");
    }
    for file in files {
        assert_eq!(home.file().await.as_deref(), Some(file));
        home.log_in(file, "other.example");
    }
    assert_eq!(home.file().await, None);

    home.log_in("docker/config.json", "example.org");
    home.log_in(".docker/config.json", "example.org");
    home.set("DOCKER_CONFIG", "docker");
    assert_eq!(home.file().await.as_deref(), Some("docker/config.json"));
}

#[tokio::test]
async fn a_file_that_is_named_ends_the_search() {
    let mut home = Home::new();
    home.log_in(".docker/config.json", "example.org");
    home.set("REGISTRY_AUTH_FILE", "podman.json");
    for (named, variable) in [
        ("podman.json", None),
        ("singularity.json", Some("SINGULARITY_AUTH_FILE")),
        ("apptainer.json", Some("APPTAINER_AUTH_FILE")),
    ] {
        if let Some(variable) = variable {
            home.set(variable, named);
        }
        let error = home.find().await.unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        home.log_in(named, "other.example");
        assert_eq!(home.file().await, None);
        home.log_in(named, "example.org");
        assert_eq!(home.file().await.as_deref(), Some(named));
    }
    home.log_in("program.json", "example.org");
    home.auth_file = Some(home.path("program.json"));
    assert_eq!(home.file().await.as_deref(), Some("program.json"));
}

#[tokio::test]
async fn apptainers_file_comes_before_podmans() {
    let mut home = Home::new();
    home.set("REGISTRY_AUTH_FILE", "podman.json");
    home.log_in("podman.json", "example.org");
    assert_eq!(home.file().await.as_deref(), Some("podman.json"));
    home.log_in(".apptainer/docker-config.json", "example.org");
    assert_eq!(
        home.file().await.as_deref(),
        Some(".apptainer/docker-config.json")
    );
}

#[tokio::test]
async fn the_program_comes_before_the_environment_and_that_before_files() {
    let mut home = Home::new();
    home.log_in(".docker/config.json", "example.org");
    let variable = |name: &str| (format!("APPTAINER_DOCKER_{name}"), PathBuf::from("set"));
    home.variables
        .extend(["USERNAME", "PASSWORD"].map(variable));
    assert_eq!(home.file().await.as_deref(), Some("set"));

    let mut sources = home.sources();
    let given = Credential::RegistryToken("given".into());
    sources
        .given
        .insert("example.org/team".to_owned(), given.clone());
    let found = find(&sources, "example.org", "team/app").await.unwrap();
    assert_eq!(found, given);
    // It is for nobody but whom it was given for.
    for (registry, repository) in [("example.org", "other/app"), ("evil.example", "team/app")] {
        let found = find(&sources, registry, repository).await.unwrap();
        assert_ne!(found, given);
    }
    let nobody = Credential::Anonymous;
    sources
        .given
        .insert("example.org".to_owned(), nobody.clone());
    let found = find(&sources, "example.org", "other/app").await.unwrap();
    assert_eq!(found, nobody);
}

#[tokio::test]
async fn a_file_that_cannot_be_understood_is_told() {
    let home = Home::new();
    let broken = home.write(".apptainer/docker-config.json", "{");
    home.log_in(".docker/config.json", "example.org");
    let error = home.find().await.unwrap_err();
    assert!(matches!(error, CredentialError::Json { path, .. } if path == broken));
}

#[tokio::test]
async fn a_helper_is_asked_before_the_file_that_names_it() {
    let mut home = Home::new();
    home.set("PATH", "bin");
    // Knows one registry.
    let script = r#"#!/bin/sh
read server
[ "$server" = example.org ] && echo '{"Username":"<token>","Secret":"helper"}' && exit
echo 'credentials not found in native keychain'
exit 1
"#;
    let helper = home.write("bin/docker-credential-test", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let auths = r#""auths":{"example.org":{"auth":"YTpi"},"other.example":{"auth":"YTpi"}}"#;
    let content = format!(r#"{{{auths},"credsStore":"test"}}"#);
    home.write(".docker/config.json", &content);

    let token = Credential::IdentityToken("helper".into());
    assert_eq!(home.find().await.unwrap(), token);
    let other = find(&home.sources(), "other.example", "app").await.unwrap();
    assert!(matches!(other, Credential::Basic { .. }), "{other:?}");
    let unknown = find(&home.sources(), "unknown.example", "app")
        .await
        .unwrap();
    assert_eq!(unknown, Credential::Anonymous);

    home.write(
        ".docker/config.json",
        &content.replace("\"test\"", "\"gone\""),
    );
    let error = home.find().await.unwrap_err();
    assert!(matches!(error, CredentialError::HelperMissing { .. }));
    let message = error.to_string();
    assert!(message.contains("docker-credential-gone"), "{message}");
    assert!(message.contains(".docker/config.json"), "{message}");
}
