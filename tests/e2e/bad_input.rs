//! *Bad input*: one clear line each, a documented exit code, nothing lost.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
    time::Duration,
};
use surprisal_e2e::{Scorer, Scratch, agent, scorer};

/// The exit code, and that standard error is one line which holds `text`.
#[track_caller]
fn says(out: &Output, code: i32, text: &str) {
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(text), "{text:?} is not in: {stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "more than one line: {stderr}");
}

#[test]
fn an_unknown_flag_is_a_bad_command_line() -> Result<()> {
    for out in [agent::run(&["run", "--nonsense"])?, scorer::run(&["serve", "--nonsense"])?] {
        assert_eq!(out.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&out.stderr).contains("--nonsense"));
    }
    Ok(())
}

#[test]
fn a_bad_configuration_is_named() -> Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.path().join("agent.toml");
    fs::write(&file, "[capture]\nring_bites = 5\n")?;
    let file = file.to_str().context("UTF-8")?;
    says(&agent::run(&["run", "--config", file, "--jsonl", "x"])?, 64, "ring_bites");
    says(&agent::run(&["run", "--scorer", "none"])?, 64, "scorer");
    says(&agent::run(&["run", "--scorer", "nonsense"])?, 64, "nonsense");
    Ok(())
}

#[test]
fn without_rights_the_agent_says_which() -> Result<()> {
    let scratch = Scratch::new()?;
    let output = scratch.path().join("recording.jsonl");
    let command = agent::command(&["record", "--output", output.to_str().context("UTF-8")?])?;
    fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    // The binary lies where only root may look.
    let copy = scratch.path().join("surprisal-agent");
    fs::copy(command.get_program(), &copy)?;
    let mut nobody = Command::new(copy);
    nobody.args(command.get_args()).uid(65534).gid(65534).stdin(Stdio::null());
    says(&nobody.output()?, 77, "CAP_BPF");
    Ok(())
}

#[test]
fn without_btf_the_agent_says_so() -> Result<()> {
    // A kernel without BTF cannot be had here; one whose BTF cannot be seen looks the same to the agent.
    let binary = agent::command(&["record", "--output", "/tmp/never-written.jsonl"])?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /sys/kernel && exec \"$0\" \"$@\""]);
    let out = unshare.arg(binary.get_program()).args(binary.get_args()).output()?;
    let _ = fs::remove_file("/tmp/never-written.jsonl");
    says(&out, 78, "BTF");
    Ok(())
}

#[test]
fn a_truncated_recording_is_refused() -> Result<()> {
    let scratch = Scratch::new()?;
    let (file, profiles) = (scratch.path().join("cut.jsonl"), scratch.path().join("profiles"));
    let header = r#"{"type":"header","version":1,"abi":"x86_64","token_layout":1,"node":"n","label":"normal","created_at":"2026-01-01T00:00:00Z"}"#;
    let (file_arg, profiles) = (file.to_str().context("UTF-8")?, profiles.to_str().context("UTF-8")?);
    for (text, why) in [
        (format!("{header}\n"), "truncated"),
        (header.replace("\"version\":1", "\"version\":7") + "\n", "version"),
        ("garbage\n".to_owned(), "not a recording"),
    ] {
        fs::write(&file, text)?;
        says(&scorer::run(&["train", "--profiles", profiles, file_arg])?, 65, why);
    }
    Ok(())
}

#[test]
fn a_damaged_profile_is_refused_and_the_others_are_served() -> Result<()> {
    let scratch = Scratch::new()?;
    let profiles = scratch.path().join("profiles");
    fs::create_dir_all(profiles.join("broken"))?;
    fs::write(profiles.join("broken/profile.json"), "{\"format\": 99}")?;
    let mut scorer = Scorer::serve(&scratch, &profiles, &[])?;
    scorer.daemon.wait_for_log("broken", Duration::from_secs(10))?;
    let out = scorer::run(&["profile", "list", "--scorer", &scorer.url(), "-o", "json"])?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// Garbage on the port: the connection ends, the scorer does not.
#[test]
fn garbage_on_the_port_does_no_harm() -> Result<()> {
    let scratch = Scratch::new()?;
    let scorer = Scorer::serve(&scratch, &scratch.path().join("profiles"), &[])?;
    for garbage in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x09nonsense"] {
        let mut stream = TcpStream::connect(scorer.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(garbage)?;
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let out = scorer::run(&["scores", "list", "--scorer", &scorer.url(), "-o", "json"])?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

#[test]
fn a_scorer_that_is_not_there_is_said_to_be_unreachable() -> Result<()> {
    let address = scorer::free_address()?;
    says(&scorer::run(&["scores", "list", "--scorer", &format!("http://{address}")])?, 69, &address.to_string());
    Ok(())
}
