//! Who imports whom: the crates' dependencies against the table of rooms.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use super::rooms::{self, KEPT, ROOMS, Room};
use super::tree::Tree;

/// A crate of the workspace and what it depends on directly.
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// Needed by tests only.
    for_tests: bool,
}

/// Reads what `cargo metadata` says.
pub(super) fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let name = value["name"].as_str().context("a package has no name")?;
    let listed = value["dependencies"]
        .as_array()
        .context("a package has no dependencies")?;
    let dependency = |value: &Value| {
        let name = value["name"]
            .as_str()
            .context("a dependency has no name")?
            .to_owned();
        Ok(Dependency {
            name,
            for_tests: value["kind"] == "dev",
        })
    };
    let dependencies = listed.iter().map(dependency).collect::<Result<_>>()?;
    Ok(Package {
        name: name.to_owned(),
        dependencies,
    })
}

pub(super) fn check(packages: &[Package], findings: &mut Vec<Finding>) {
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for package in packages {
        let name = package.name.as_str();
        let manifest = if name == "xtask" {
            "xtask/Cargo.toml".to_owned()
        } else {
            format!("crates/{name}/Cargo.toml")
        };
        let Some(room) = rooms::find(name) else {
            let text =
                "no such room in xtask/src/tidy/rooms.rs: add it there, with a decision record";
            findings.push(Finding::new(&manifest, 0, text));
            continue;
        };
        for dependency in &package.dependencies {
            let objection = if ours.contains(&dependency.name.as_str()) {
                import(room, dependency)
            } else {
                foreign(room, dependency)
            };
            findings.extend(objection.map(|text| Finding::new(&manifest, 0, text)));
        }
    }
}

fn import(room: &Room, dependency: &Dependency) -> Option<String> {
    let other = dependency.name.as_str();
    if room.imports.contains(&other) {
        return None;
    }
    let place = |name: &str| ROOMS.iter().position(|room| room.name == name);
    if dependency.for_tests && place(other) < place(room.name) {
        return None;
    }
    Some(format!(
        "{} may not import {other}: see the import table in ARCHITECTURE.md",
        room.name
    ))
}

fn foreign(room: &Room, dependency: &Dependency) -> Option<String> {
    let kept = KEPT.iter().find(|kept| kept.name == dependency.name)?;
    let allowed = kept.rooms.contains(&room.name);
    // Tests of pure rooms are synchronous too; for the rest they may use what they like.
    if allowed || (dependency.for_tests && kept.name != "tokio") {
        return None;
    }
    Some(format!(
        "{} may not depend on {}: {}",
        room.name, kept.name, kept.reason
    ))
}

/// Versions and reasons stand once, in the root manifest.
pub(super) fn check_manifests(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        let Some(text) = file.text.as_deref().filter(|_| file.name() == "Cargo.toml") else {
            continue;
        };
        let in_workspace = file.path.starts_with("crates/") || file.path.starts_with("xtask/");
        let mut section = "";
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                section = line.trim();
            } else if line.is_empty()
                || line.starts_with('#')
                || !section.ends_with("dependencies]")
            {
                continue;
            } else if file.path == "Cargo.toml" && !line.contains("path =") && !line.contains(" # ")
            {
                let text = "a dependency without its reason: one comment on its line";
                findings.push(Finding::new(&file.path, index + 1, text));
            } else if in_workspace && !line.contains("workspace = true") {
                let text = "write `name.workspace = true`: versions stand in the root manifest";
                findings.push(Finding::new(&file.path, index + 1, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(name: &str, dependencies: &[(&str, bool)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|(name, for_tests)| Dependency {
                name: (*name).to_owned(),
                for_tests: *for_tests,
            })
            .collect();
        let mut packages = vec![Package {
            name: name.to_owned(),
            dependencies,
        }];
        for other in ROOMS.iter().filter(|room| room.name != name) {
            packages.push(Package {
                name: other.name.to_owned(),
                dependencies: Vec::new(),
            });
        }
        let mut findings = Vec::new();
        check(&packages, &mut findings);
        findings.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn imports_go_down_only() {
        assert_eq!(
            check_one("broker", &[("wire", false), ("slab", false)]),
            [""; 0]
        );
        assert_eq!(check_one("broker", &[("node", false)]).len(), 1);
        assert_eq!(
            check_one("wire", &[("tokio", false), ("rand", false)]).len(),
            2
        );
        assert_eq!(check_one("parlour", &[]).len(), 1);
    }

    #[test]
    fn tests_may_reach_further_down_but_not_up() {
        assert_eq!(
            check_one("server", &[("storage", true), ("rand", true)]),
            [""; 0]
        );
        assert_eq!(check_one("server", &[("leveret", true)]).len(), 1);
        assert_eq!(check_one("wire", &[("tokio", true)]).len(), 1);
    }

    #[test]
    fn the_table_is_in_order() {
        for (place, room) in ROOMS.iter().enumerate() {
            for import in room.imports {
                assert!(
                    ROOMS[..place].iter().any(|above| above.name == *import),
                    "{import}"
                );
            }
        }
    }
}
