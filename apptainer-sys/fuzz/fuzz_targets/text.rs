//! Text that Apptainer prints: none makes a parser panic.
#![no_main]

use apptainer_sys::Version;
use apptainer_sys::exit::Failure;
use apptainer_sys::output::{
    BuildConfig, CacheEntry, Grant, ListedKey, ListedObject, ListedPlugin, ListedRegistry,
    ListedRemote, fields, messages,
};
use apptainer_sys::process::Exit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = messages(bytes).count();
    let _ = Failure::diagnose(Exit::Code(255), bytes);
    let _ = Failure::diagnose(Exit::Code(1), bytes);
    let _ = Failure::from_stderr(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = text.parse::<Version>();
    let _ = BuildConfig::parse(text);
    let _ = CacheEntry::parse(text);
    let _ = Grant::parse(text);
    let _ = ListedKey::parse(text);
    let _ = ListedObject::parse(text);
    let _ = ListedPlugin::parse(text);
    let _ = ListedRegistry::parse(text);
    let _ = ListedRemote::parse(text);
    let _ = fields(text);
});
