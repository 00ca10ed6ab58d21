//! The guide does what it says: its examples are run, page by page, each page against a node of its own.
//!
//! A block marked `sh` or `python` is run, in the order of the page; a block marked `text` right behind one is what it
//! prints, `…` standing for anything within a line and, alone on a line, for any lines. A block marked `yaml` is checked
//! by `frazil validate`. Where a page names a default port, the node's own is put in its place.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use testkit::outside::tool;
use testkit::process::ProcessNode;

use crate::world::{TESTNODE, World};

/// A fenced block of a page.
struct Block {
    language: String,
    /// Of its first line in the page.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (index, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                found.push(Block {
                    language: language.trim().to_owned(),
                    line: index + 2,
                    text: String::new(),
                });
            }
            None if inside => {
                if let Some(block) = found.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    found
}

/// Whether a line is what the page says, spaces at its end apart.
fn line_fits(expected: &str, found: &str) -> bool {
    let mut parts = expected.trim_end().split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.trim_end().strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    // Behind the last `…` the line ends with what stands there.
    rest.is_empty() || last.is_some_and(|part| part.is_empty() || found.trim_end().ends_with(part))
}

fn fits(expected: &[&str], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((&"…", more)) => (0..=found.len()).any(|skipped| fits(more, &found[skipped..])),
        Some((line, more)) => {
            found.split_first().is_some_and(|(first, rest)| line_fits(line, first) && fits(more, rest))
        }
    }
}

/// Puts the node's ports in the place of the default ones.
fn with_ports(world: &World, text: &str) -> String {
    let ports = world.ports;
    let places = [
        (9092, ports.kafka()),
        (8081, ports.registry()),
        (8181, ports.catalog()),
        (8080, ports.admin()),
        (5433, ports.postgres()),
    ];
    places.iter().fold(text.to_owned(), |text, (usual, own)| {
        let text = text.replace(&format!("127.0.0.1:{usual}"), &format!("127.0.0.1:{own}"));
        text.replace(&format!("localhost:{usual}"), &format!("localhost:{own}"))
    })
}

fn run(world: &World, block: &Block) -> Result<String> {
    let text = with_ports(world, &block.text);
    let mut command = match block.language.as_str() {
        "sh" => {
            let mut command = Command::new("sh");
            command.arg("-euc").arg(text);
            command
        }
        _ => {
            let mut command = Command::new(tool("FRAZIL_PYTHON")?);
            command.args(["-W", "ignore", "-c", &text]).env_remove("LD_LIBRARY_PATH");
            command
        }
    };
    let path = std::env::var("PATH")?;
    let output = command
        .env("PATH", format!("{}:{path}", world.path("bin").display()))
        // What a page's configuration interpolates.
        .env("ROOT_SECRET", "example")
        .env("FRAZIL_PORT_OFFSET", world.ports.offset.to_string())
        .current_dir(world.path("here"))
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{}\nprinted {printed}\n{errors}\nand ended with {}", block.text, output.status);
    }
    Ok(printed)
}

fn check_page(name: &str) -> Result<()> {
    let file = format!("{}/../../docs/guide/{name}.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&file).context(file)?;
    let world = World::new(&format!("guide-{name}"))?;
    for directory in ["bin", "here"] {
        std::fs::create_dir_all(world.path(directory))?;
    }
    std::os::unix::fs::symlink(TESTNODE, world.path("bin").join("frazil"))?;
    let node = ProcessNode::start(Path::new(TESTNODE), &world.data_dir(), world.ports, &[])?;
    let (mut printed, mut examples) = (None, 0);
    for block in blocks(&page) {
        let at = format!("docs/guide/{name}.md:{}", block.line);
        match block.language.as_str() {
            "sh" | "python" => {
                printed = Some(run(&world, &block).with_context(|| at)?);
                examples += 1;
            }
            "text" => {
                let printed = printed.take().with_context(|| format!("{at}: no example stands before it"))?;
                let lines = |text| str::lines(text).map(str::trim_end).collect::<Vec<_>>();
                let (expected, found) = (lines(&block.text), lines(&printed));
                ensure!(fits(&expected, &found), "{at}: the example prints\n{printed}not\n{}", block.text);
            }
            "yaml" => {
                let mut text = block.text.clone();
                if !text.contains("version:") {
                    text.insert_str(0, "version: 1\n");
                }
                let path = world.path("here").join("example.yaml");
                std::fs::write(&path, text)?;
                let validate =
                    Block { language: "sh".into(), line: 0, text: format!("frazil validate {path:?}") };
                run(&world, &validate).with_context(|| at)?;
            }
            _ => {}
        }
    }
    println!("{name}: {examples} examples");
    ensure!(examples > 0, "{name} has no example");
    node.stop()
}

#[test]
fn topics_as_tables() -> Result<()> {
    check_page("topics-as-tables")
}

#[test]
fn table_maintenance() -> Result<()> {
    check_page("table-maintenance")
}

#[test]
fn catalog() -> Result<()> {
    check_page("catalog")
}

#[test]
fn schema_registry() -> Result<()> {
    check_page("schema-registry")
}

#[test]
fn every_page_is_checked() -> Result<()> {
    let tests = include_str!("guide.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let call = format!("check_page(\"{}\")", name.trim_end_matches(".md"));
        ensure!(tests.contains(&call), "docs/guide/{name} is run by no test: add one here");
    }
    Ok(())
}

#[test]
fn dots_stand_for_anything() {
    assert!(fits(&["a", "…", "d"], &["a", "b", "c", "d"]) && fits(&["…"], &[]));
    assert!(!fits(&["a"], &["a", "b"]) && !fits(&["a", "b"], &["a"]));
    assert!(line_fits("x … z", "x y z") && line_fits("x …", "x 1") && !line_fits("x … z", "x z y"));
    assert!(!line_fits("x", "x y") && line_fits("x", "x  "));
}
