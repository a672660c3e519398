//! deploy/: what is shipped is what Kubernetes and container builders understand, and asks for no more than it says.
//!
//! Nothing is started here; the same files run on a real node in [`crate::kubernetes`].

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use surprisal_e2e::kubernetes::run;

/// Version of kubernetes-validate, and the version of Kubernetes whose schemas of it are used: the oldest that the
/// manifests are for, and the newest that there are schemas for.
const SCHEMAS: [(&str, &str); 2] = [("1.27.1", "1.20"), ("1.37.0", "1.37")];

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

/// A program of the virtual environment that `xtask setup kubernetes` makes.
fn validator(version: &str, program: &str) -> Result<PathBuf> {
    let cache = match env::var_os("SURPRISAL_CACHE").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var_os("HOME").context("neither SURPRISAL_CACHE nor HOME is set")?).join(".cache/surprisal"),
    };
    let path = cache.join("kubernetes-validate").join(version).join("bin").join(program);
    ensure!(path.exists(), "{} is missing; `cargo xtask setup kubernetes` installs it", path.display());
    Ok(path)
}

fn validate(file: &Path) -> Result<()> {
    for (version, kubernetes) in SCHEMAS {
        let mut command = Command::new(validator(version, "kubernetes-validate")?);
        run(command.args(["--strict", "--kubernetes-version", kubernetes]).arg(file))
            .with_context(|| format!("{} against Kubernetes {kubernetes}", file.display()))?;
    }
    Ok(())
}

fn render() -> Result<String> {
    run(Command::new("kubectl").arg("kustomize").arg(repository().join("deploy")))
}

/// All objects of deploy/, as kustomize makes them.
fn objects() -> Result<Vec<Value>> {
    let program = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut python = Command::new(validator(SCHEMAS[0].0, "python3")?)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting python3")?;
    python.stdin.take().context("a pipe")?.write_all(render()?.as_bytes())?;
    let out = python.wait_with_output()?;
    ensure!(out.status.success(), "python3 ended with {}", out.status);
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// The one object of a kind.
pub(crate) fn object(kind: &str) -> Result<Value> {
    objects()?.into_iter().find(|o| o["kind"] == kind).with_context(|| format!("no {kind} in deploy/"))
}

#[test]
fn manifests_pass_strict_schemas() -> Result<()> {
    let mut files = 0;
    for entry in fs::read_dir(repository().join("deploy"))? {
        let path = entry?.path();
        // kustomize's own file is no object of the API; rendering reads it.
        if path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("kustomization.yaml") {
            validate(&path)?;
            files += 1;
        }
    }
    assert!(files > 0);

    // The check can fail: one letter of the other case is one.
    let dir = tempfile::tempdir()?;
    let wrong = dir.path().join("wrong.yaml");
    let daemonset = fs::read_to_string(repository().join("deploy/agent-daemonset.yaml"))?;
    fs::write(&wrong, daemonset.replace("hostPID:", "hostPid:"))?;
    for (version, kubernetes) in SCHEMAS {
        let mut command = Command::new(validator(version, "kubernetes-validate")?);
        let error = run(command.args(["--strict", "--kubernetes-version", kubernetes]).arg(&wrong));
        assert!(error.is_err(), "{kubernetes} accepts hostPid");
    }
    Ok(())
}

#[test]
fn kustomize_renders_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rendered = dir.path().join("rendered.yaml");
    fs::write(&rendered, render()?)?;
    validate(&rendered)?;

    let objects = objects()?;
    let names: BTreeSet<_> = objects.iter().map(|o| format!("{} {}", text(&o["kind"]), text(&o["metadata"]["name"]))).collect();
    let expected = [
        "ClusterRole surprisal-agent",
        "ClusterRoleBinding surprisal-agent",
        "DaemonSet surprisal-agent",
        "Deployment surprisal-scorer",
        "Namespace surprisal",
        "NetworkPolicy surprisal-agent",
        "NetworkPolicy surprisal-scorer",
        "PersistentVolumeClaim surprisal-profiles",
        "Service surprisal-scorer",
        "ServiceAccount surprisal-agent",
        "ServiceAccount surprisal-scorer",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    for object in objects.iter().filter(|o| o["kind"] != "Namespace" && !text(&o["kind"]).starts_with("Cluster")) {
        assert_eq!(object["metadata"]["namespace"], "surprisal", "{object}");
    }
    Ok(())
}

#[test]
fn the_agent_gets_what_it_needs_and_no_more() -> Result<()> {
    let pod = object("DaemonSet")?["spec"]["template"]["spec"].clone();
    let context = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsUser": 0,
        "runAsGroup": 0,
        "capabilities": { "drop": ["ALL"], "add": ["BPF", "PERFMON", "SYS_PTRACE"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    assert_eq!(pod["containers"][0]["securityContext"], context);
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["hostNetwork"], false);
    assert_eq!(pod["hostIPC"], Value::Null);
    // Nothing of the host's files.
    assert_eq!(pod["volumes"], Value::Null);
    assert_eq!(pod["automountServiceAccountToken"], true);
    assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
    Ok(())
}

/// Its role is for reading four things, and its own account's.
#[test]
fn the_agent_may_read_and_not_write() -> Result<()> {
    let role = object("ClusterRole")?;
    let read = json!(["get", "list", "watch"]);
    let rules = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": read },
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": read },
        { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"] },
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"] },
    ]);
    assert_eq!(role["rules"], rules);
    let binding = object("ClusterRoleBinding")?;
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = object("DaemonSet")?["spec"]["template"]["spec"]["serviceAccountName"].clone();
    assert_eq!(binding["subjects"], json!([{ "kind": "ServiceAccount", "name": account, "namespace": "surprisal" }]));
    Ok(())
}

#[test]
fn the_scorer_would_pass_the_restricted_level() -> Result<()> {
    let deployment = object("Deployment")?;
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_ne!(pod["securityContext"]["runAsUser"], 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    assert_eq!(pod["containers"][0]["securityContext"], context);
    for namespace in ["hostPID", "hostIPC", "hostNetwork"] {
        assert_eq!(pod[namespace], Value::Null);
    }
    assert_eq!(pod["automountServiceAccountToken"], false);
    Ok(())
}

/// Selectors cannot be changed on a running cluster: these are the ones of the first release.
#[test]
fn selectors_are_frozen() -> Result<()> {
    for (kind, component) in [("DaemonSet", "agent"), ("Deployment", "scorer")] {
        let spec = object(kind)?["spec"].clone();
        let labels = json!({ "app.kubernetes.io/name": "surprisal", "app.kubernetes.io/component": component });
        assert_eq!(spec["selector"]["matchLabels"], labels);
        assert_eq!(spec["template"]["metadata"]["labels"], labels);
    }
    let service = object("Service")?;
    assert_eq!(service["spec"]["selector"]["app.kubernetes.io/component"], "scorer");
    assert_eq!(service["spec"]["ports"][0]["port"], 7676);
    Ok(())
}

#[test]
fn containerfiles_build_from_what_is_there() -> Result<()> {
    for (name, package, user) in [("agent", "surprisal-agent", "0:0"), ("scorer", "surprisal-scorer", "65532:65532")] {
        let path = repository().join(format!("deploy/images/{name}.Containerfile"));
        let lines = instructions(&fs::read_to_string(&path)?);
        let stages = check_containerfile(&lines).with_context(|| path.display().to_string())?;
        let ignored = fs::read_to_string(path.with_extension("Containerfile.dockerignore"))?;
        for source in lines.iter().filter(|(i, r)| i == "COPY" && !r.starts_with("--from=")).flat_map(|(_, r)| sources(r)) {
            assert!(ignored.lines().any(|l| l.strip_prefix('!') == Some(source)), "{name}: {source} is not sent to the builder");
        }
        let last = &lines[stages.last().copied().context("no stage")?..];
        let program = format!("/usr/local/bin/{package}");
        let is = |instruction: &str, rest: &str| last.iter().any(|(i, r)| i == instruction && r == rest);
        assert!(is("ENTRYPOINT", &format!("[\"{program}\"]")), "{name}: {last:?}");
        assert!(is("USER", user), "{name}: {last:?}");
        assert!(last.iter().any(|(i, r)| i == "COPY" && r.starts_with("--from=") && r.ends_with(&program)), "{name}");
        assert!(is("COPY", ".licenses /usr/share/doc/surprisal"), "{name}");
        // The compilers stay in the first stage.
        assert!(!last.iter().any(|(i, _)| i == "RUN"), "{name}");
        assert!(lines.iter().any(|(i, r)| i == "RUN" && r.contains(&format!("--package {package}"))), "{name}");
    }
    let twice = instructions("FROM a/b:1\nCOPY --from=nowhere /x /x");
    assert!(check_containerfile(&twice).is_err());
    assert!(check_containerfile(&instructions("FROM a/b:1\nCOPY no-such-file /x")).is_err());
    assert!(check_containerfile(&instructions("FROM b\nUSER 0")).is_err());
    assert!(check_containerfile(&instructions("FROM a/b:1\nCPOY agent /x")).is_err());
    Ok(())
}

/// `INSTRUCTION rest`, continued lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = text.lines().filter(|l| !l.trim_start().starts_with('#')).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter_map(|l| l.trim().split_once(' '))
        .map(|(i, rest)| (i.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// What a COPY copies: all but its last word.
fn sources(copy: &str) -> impl Iterator<Item = &str> {
    let end = copy.rfind(' ').unwrap_or(0);
    copy[..end].split(' ')
}

/// Known instructions, pinned bases, stages that exist, files that exist. Returns where stages begin.
fn check_containerfile(lines: &[(String, String)]) -> Result<Vec<usize>> {
    const KNOWN: [&str; 8] = ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT"];
    let (mut begins, mut names) = (Vec::new(), BTreeSet::new());
    for (index, (instruction, rest)) in lines.iter().enumerate() {
        ensure!(KNOWN.contains(&instruction.as_str()) || instruction == "CMD", "unknown instruction {instruction}");
        ensure!(instruction == "FROM" || !begins.is_empty(), "{instruction} before FROM");
        match instruction.as_str() {
            "FROM" => {
                let base = rest.split(' ').next().unwrap_or_default();
                let tag = base.rsplit_once('/').and_then(|(_, name)| name.split_once(':')).map(|(_, tag)| tag);
                ensure!(tag.is_some_and(|t| t != "latest"), "FROM {base}: registry and tag have to be named");
                begins.push(index);
                names.extend(rest.split_once(" AS ").map(|(_, name)| name));
            }
            "COPY" => {
                let from = rest.strip_prefix("--from=").and_then(|r| r.split(' ').next());
                match from {
                    Some(stage) => ensure!(names.contains(stage), "COPY from unknown stage {stage}"),
                    None => {
                        for source in sources(rest) {
                            ensure!(repository().join(source).exists(), "COPY of {source}, which is not there");
                        }
                    }
                }
            }
            "ENTRYPOINT" | "CMD" => {
                serde_json::from_str::<Vec<String>>(rest).with_context(|| format!("{instruction} {rest}: no JSON list"))?;
            }
            _ => {}
        }
    }
    Ok(begins)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
