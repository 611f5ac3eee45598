//! Names that differ from process to process, made equal.
//!
//! Classes that the JVM generates and libraries that are unpacked to temporary files carry numbers, addresses and
//! hashes. They become `_`, so that profiles of several processes merge. Source: the names that Pyroscope stores.

use std::borrow::Cow;

/// Hash in the file name of the library that Pyroscope's Java agent carried for a long time.
const AGENT_LIBRARY_HASH: &str = "17b9a1d8156277a98ccc871afa9a8f69215f92";
const AGENT_LIBRARY_PLATFORMS: [&str; 4] = ["linux-arm64", "linux-musl-x64", "linux-x64", "macos"];

/// The name to show for a class or library.
pub(crate) fn normalise(name: &str) -> Cow<'_, str> {
    if let Some(prefix) = generated_class_prefix(name) {
        return Cow::Owned(format!("{prefix}_"));
    }
    temporary_library(name).map_or(Cow::Borrowed(name), Cow::Borrowed)
}

fn generated_class_prefix(name: &str) -> Option<&str> {
    let split = |marker: &str| name.rfind(marker).map(|at| name.split_at(at + marker.len()));
    if let Some(rest) = name.strip_prefix("jdk/internal/reflect/GeneratedMethodAccessor") {
        return is_decimal(rest).then(|| &name[..name.len() - rest.len()]);
    }
    if let Some((prefix, rest)) = split("$$Lambda") {
        return (prefix.len() > "$$Lambda".len() && is_lambda_suffix(rest)).then_some(prefix);
    }
    let (prefix, rest) = split("$$EnhancerBySpringCGLIB$$")?;
    is_hex(rest).then_some(prefix)
}

/// `N`, `$N.0xH`, `$N/0xH`, `$N/H`, `.0xH`, `/H`: what JDK 8 to 21 put behind `Lambda`.
fn is_lambda_suffix(suffix: &str) -> bool {
    if is_decimal(suffix) {
        return true;
    }
    let number_and_address = suffix.strip_prefix('$').unwrap_or(suffix);
    let Some((number, address)) = number_and_address.split_once(['.', '/']) else {
        return false;
    };
    let digits = address.strip_prefix("0x").unwrap_or(address);
    number.bytes().all(|b| b.is_ascii_digit()) && is_hex(digits)
}

fn temporary_library(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let name = name.strip_prefix("./tmp/").or(name.strip_prefix("/tmp/")).unwrap_or(name);
    let name = name.strip_suffix(".so")?;
    if name.strip_prefix("libzstd-jni-").is_some_and(is_version_and_number) {
        return Some("libzstd-jni-_.so");
    }
    if is_corretto_crypto(name) {
        return Some("libamazonCorrettoCryptoProvider_.so");
    }
    let platform = name.strip_prefix("libasyncProfiler-")?.strip_suffix(AGENT_LIBRARY_HASH)?.strip_suffix('-')?;
    AGENT_LIBRARY_PLATFORMS.contains(&platform).then_some("libasyncProfiler-_.so")
}

/// `1.5.1-16931311898282279136`
fn is_version_and_number(text: &str) -> bool {
    text.split_once('-').is_some_and(|(version, number)| {
        version.split('.').count() == 3 && version.split('.').all(is_decimal) && is_decimal(number)
    })
}

/// `libamazonCorrettoCryptoProvider<hash>` or `amazonCorrettoCryptoProviderNativeLibraries.<hash>/<library>`
fn is_corretto_crypto(name: &str) -> bool {
    let is_hash = |text: &str| text.len() == 16 && is_hex(text);
    if let Some(hash) = name.strip_prefix("libamazonCorrettoCryptoProvider") {
        return is_hash(hash);
    }
    let in_folder = name.strip_prefix("amazonCorrettoCryptoProviderNativeLibraries.").and_then(|n| n.split_once('/'));
    in_folder.is_some_and(|(hash, library)| {
        is_hash(hash) && ["libcrypto", "libamazonCorrettoCryptoProvider"].contains(&library)
    })
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        assert_eq!(normalise(name), expected, "{name}");
    }

    #[test]
    fn lambdas_of_all_jdks_lose_their_number() {
        for suffix in ["$12/1067040082", "$9/0x00000008000b7840", "$669.0x0000000800fd7318", ".0x00007ffa600c4da0", "7"]
        {
            check(&format!("shop/Cart$$Lambda{suffix}"), "shop/Cart$$Lambda_");
        }
        for name in
            ["shop/Cart$$Lambda", "shop/Cart$$Lambda$", "shop/Cart$$Lambda$12", "$$Lambda7", "shop/Cart$$LambdaX"]
        {
            check(name, name);
        }
    }

    #[test]
    fn generated_classes_lose_their_number() {
        check("jdk/internal/reflect/GeneratedMethodAccessor31", "jdk/internal/reflect/GeneratedMethodAccessor_");
        check("jdk/internal/reflect/GeneratedMethodAccessor", "jdk/internal/reflect/GeneratedMethodAccessor");
        check("shop/Cart$$EnhancerBySpringCGLIB$$1d2f3a", "shop/Cart$$EnhancerBySpringCGLIB$$_");
        check("shop/Cart$$EnhancerBySpringCGLIB$$Zoo", "shop/Cart$$EnhancerBySpringCGLIB$$Zoo");
        check("java/lang/Thread", "java/lang/Thread");
    }

    #[test]
    fn temporary_libraries_lose_their_hash() {
        let known = [
            ("libzstd-jni-1.5.1-16931311898282279136.so", "libzstd-jni-_.so"),
            ("libamazonCorrettoCryptoProvider109b39cf33c563eb.so", "libamazonCorrettoCryptoProvider_.so"),
            (
                "amazonCorrettoCryptoProviderNativeLibraries.24e42b0d5ecf5f50/libcrypto.so",
                "libamazonCorrettoCryptoProvider_.so",
            ),
            ("libasyncProfiler-linux-musl-x64-17b9a1d8156277a98ccc871afa9a8f69215f92.so", "libasyncProfiler-_.so"),
        ];
        for (name, expected) in known {
            check(name, expected);
            check(&format!("/tmp/{name} (deleted)"), expected);
            check(&format!("./tmp/{name}"), expected);
        }
        for name in
            ["libasyncProfiler-linux-x64-d73f214b5053.so", "libzstd.so.1", "/tmp/libjvm.so", "libzstd-jni-1.5.so"]
        {
            check(name, name);
        }
    }
}
