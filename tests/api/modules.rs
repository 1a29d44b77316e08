//! The modules of `src/`: what each imports of the others, and that no imports run in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use crate::structure::rust_files;

/// The names from the crate's root to a module, which is a file.
type Module = Vec<String>;

/// What one file names of others.
#[derive(Default)]
struct Names {
    module: Module,
    /// Whole paths, from the root.
    used: BTreeSet<Module>,
    /// What it gives on under a name of its own.
    given_on: BTreeMap<String, Module>,
    /// The types and traits that it has.
    types: Vec<String>,
}

impl Names {
    fn of(module: Module, text: &str) -> Self {
        let mut names = Self {
            module,
            ..Self::default()
        };
        let file = syn::parse_file(text).unwrap();
        names.visit_file(&file);
        names.types = file.items.iter().filter_map(type_name).collect();
        names
    }

    /// The whole path, where it is one of this crate's.
    fn whole(&self, path: &[String]) -> Option<Module> {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let base = match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => return Some([&self.module[..], &path[1..]].concat()),
            "super" => self.module.get(..self.module.len().checked_sub(ups)?)?,
            _ => return None,
        };
        Some([base, &path[ups..]].concat())
    }

    fn add(&mut self, tree: &UseTree, before: &[String], is_given_on: bool) {
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.add(&path.tree, &before, is_given_on);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(tree, before, is_given_on)),
            UseTree::Name(name) => self.add_name(before, &name.ident.to_string(), None, is_given_on),
            UseTree::Rename(rename) => {
                let new = rename.rename.to_string();
                self.add_name(before, &rename.ident.to_string(), Some(new), is_given_on);
            }
            UseTree::Glob(_) => drop(self.whole(before).map(|path| self.used.insert(path))),
        }
    }

    fn add_name(&mut self, before: &[String], name: &str, new: Option<String>, is_given_on: bool) {
        let path = match name {
            "self" => before.to_vec(),
            name => [before, &[name.to_owned()]].concat(),
        };
        let Some(path) = self.whole(&path) else { return };
        if is_given_on {
            let name = new.or_else(|| path.last().cloned()).unwrap();
            self.given_on.insert(name, path.clone());
        }
        // What it gives on of its own children is theirs.
        if !is_given_on || !path.starts_with(&self.module) {
            self.used.insert(path);
        }
    }
}

fn type_name(item: &Item) -> Option<String> {
    let name = if let Item::Struct(item) = item {
        &item.ident
    } else if let Item::Enum(item) = item {
        &item.ident
    } else if let Item::Trait(item) = item {
        &item.ident
    } else if let Item::Type(item) = item {
        &item.ident
    } else {
        return None;
    };
    Some(name.to_string())
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        // What else there is has no imports of its own.
        let is_of_tests = if let Item::Mod(item) = item {
            is_of_tests(&item.attrs)
        } else if let Item::Use(item) = item {
            is_of_tests(&item.attrs)
        } else if let Item::Fn(item) = item {
            is_of_tests(&item.attrs)
        } else if let Item::Impl(item) = item {
            is_of_tests(&item.attrs)
        } else {
            false
        };
        if !is_of_tests {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let Some((_, items)) = &item.content else { return };
        self.module.push(item.ident.to_string());
        items.iter().for_each(|item| self.visit_item(item));
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Module = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.used.extend(self.whole(&names));
        }
        syn::visit::visit_path(self, path);
    }
}

/// All files of `src/` but those of tests, with what each names and how many lines it has.
fn files() -> BTreeMap<Module, (Names, usize)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files("src").into_iter().filter_map(|(path, text)| {
        let inside = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Module = inside.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        if module.iter().any(|name| name == "tests") {
            return None;
        }
        if module.last().is_some_and(|name| name == "mod") || module == ["lib"] {
            module.pop();
        }
        Some((module.clone(), (Names::of(module, &text), text.lines().count())))
    });
    files.collect()
}

/// The file that a path leads to, through what others give on.
fn home(files: &BTreeMap<Module, (Names, usize)>, path: &[String]) -> Module {
    let mut modules = (0..=path.len()).rev().map(|end| &path[..end]);
    let module = modules.find(|module| files.contains_key(*module)).unwrap();
    let given_on = path
        .get(module.len())
        .and_then(|name| files[module].0.given_on.get(name));
    match given_on {
        Some(from) if from != path => home(files, &[&from[..], &path[module.len() + 1..]].concat()),
        Some(_) | None => module.to_vec(),
    }
}

/// Who imports whom, and what.
type Arrows = BTreeMap<Module, BTreeMap<Module, String>>;

/// A way along arrows that leads back to where it began.
fn circle(arrows: &Arrows) -> Option<Vec<Module>> {
    fn walk(arrows: &Arrows, at: &Module, way: &mut Vec<Module>, done: &mut BTreeSet<Module>) -> Option<Vec<Module>> {
        if let Some(begin) = way.iter().position(|module| module == at) {
            return Some([&way[begin..], std::slice::from_ref(at)].concat());
        }
        if !done.contains(at) {
            way.push(at.clone());
            for next in arrows.get(at).into_iter().flat_map(BTreeMap::keys) {
                if let Some(found) = walk(arrows, next, way, done) {
                    return Some(found);
                }
            }
            way.pop();
            done.insert(at.clone());
        }
        None
    }
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|begin| walk(arrows, begin, &mut Vec::new(), &mut done))
}

fn told(arrows: &Arrows, circle: &[Module]) -> String {
    let steps = circle.windows(2).map(|step| {
        let what = &arrows[&step[0]][&step[1]];
        format!("{} -> {} ({what})", step[0].join("::"), step[1].join("::"))
    });
    steps.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_imports_run_in_a_circle_among_files_nor_among_rooms_of_any_floor() {
    let files = files();
    let mut arrows = Arrows::new();
    for (module, (names, _)) in files.iter().filter(|(module, _)| !module.is_empty()) {
        for path in &names.used {
            let other = home(&files, path);
            if other != *module && !other.is_empty() {
                arrows.entry(module.clone()).or_default().insert(other, path.join("::"));
            }
        }
    }
    assert!(arrows.values().map(BTreeMap::len).sum::<usize>() > 500);
    if let Some(circle) = circle(&arrows) {
        panic!("files import each other in a circle:\n{}", told(&arrows, &circle));
    }
    // The rooms that stand side by side in a room, each with all that is in it.
    let rooms: BTreeSet<&[String]> = files
        .keys()
        .flat_map(|module| (0..module.len()).map(|end| &module[..end]))
        .collect();
    for room in rooms {
        let mut between = Arrows::new();
        for (from, others) in arrows
            .iter()
            .filter(|(from, _)| from.starts_with(room) && from.len() > room.len())
        {
            for (to, what) in others
                .iter()
                .filter(|(to, _)| to.starts_with(room) && to.len() > room.len())
            {
                let (from, to) = (from[..=room.len()].to_vec(), to[..=room.len()].to_vec());
                if from != to {
                    between.entry(from).or_default().insert(to, what.clone());
                }
            }
        }
        if let Some(circle) = circle(&between) {
            panic!("rooms import each other in a circle:\n{}", told(&between, &circle));
        }
    }
}

#[test]
fn no_room_holds_more_than_a_seventh_of_the_lines() {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for (module, (_, count)) in files().iter().filter(|(module, _)| !module.is_empty()) {
        *lines.entry(module[0].clone()).or_default() += count;
    }
    let all: usize = lines.values().sum();
    for (room, lines) in lines {
        assert!(lines * 7 <= all, "{room} has {lines} of {all} lines");
    }
}

#[test]
fn no_type_has_the_name_of_another_in_its_room() {
    let mut homes: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (module, (names, _)) in files() {
        let Some(room) = module.first() else { continue };
        for name in names.types {
            homes.entry((room.clone(), name)).or_default().push(module.join("::"));
        }
    }
    assert!(homes.len() > 500);
    homes.retain(|_, modules| modules.len() > 1);
    assert!(homes.is_empty(), "{homes:#?}");
}
