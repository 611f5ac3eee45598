//! Which service a process is.

use crate::ProcessFacts;

/// A service and where its name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Name, never empty.
    pub name: String,
    /// `service.namespace` of the environment, if there is one.
    pub namespace: Option<String>,
}

/// The name of a process's service.
///
/// In order: `OTEL_SERVICE_NAME`; `service.name` in `OTEL_RESOURCE_ATTRIBUTES`; the systemd unit; for interpreters the
/// script, module or archive; the executable; the name of the main thread.
pub fn service_name(facts: &ProcessFacts) -> ServiceName {
    let attributes = facts.variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let namespace = attribute(attributes, "service.namespace");
    let name = facts
        .variable("OTEL_SERVICE_NAME")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .or_else(|| attribute(attributes, "service.name"))
        .or_else(|| facts.cgroup.service_unit.clone())
        .or_else(|| program(facts));
    let name = name.or_else(|| Some(facts.comm.clone())).filter(|name| !name.is_empty());
    ServiceName { name: name.unwrap_or_else(|| "unknown".to_owned()), namespace }
}

/// A value of `key=value,key=value`, where values are percent-encoded (W3C Baggage, as OpenTelemetry says).
fn attribute(attributes: &str, key: &str) -> Option<String> {
    let mut pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| name.trim() == key)?.1.trim();
    Some(percent_decoded(value)).filter(|value| !value.is_empty())
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn program(facts: &ProcessFacts) -> Option<String> {
    let executable = base(&facts.exe);
    let arguments: Vec<&str> = facts.command.iter().skip(1).map(String::as_str).collect();
    let stem = executable.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let named = match stem {
        "python" | "pypy" => python(&arguments),
        "java" => java(&arguments),
        "node" | "nodejs" => {
            script(&arguments, &["-r", "--require", "--import", "--loader", "-C", "--conditions"], &[])
        }
        "deno" | "bun" => script(&arguments, &[], &["run"]),
        "ruby" | "perl" | "php" | "sh" | "bash" | "dash" => script(&arguments, &["-I", "-d", "-o"], &[]),
        "dotnet" => script(&arguments, &[], &["exec"]),
        _ => None,
    };
    named.or_else(|| Some(executable.to_owned()).filter(|name| !name.is_empty()))
}

/// Servers that are told in an argument which application to load, as `module:object`.
const PYTHON_LAUNCHERS: [&str; 6] = ["uvicorn", "gunicorn", "hypercorn", "daphne", "granian", "waitress-serve"];

fn python(arguments: &[&str]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        let launched = match argument {
            "-m" => rest.next().map(|module| module.to_string())?,
            "-X" | "-W" | "--check-hash-based-pycs" => {
                rest.next();
                continue;
            }
            "-c" | "-" => return None,
            option if option.starts_with('-') => continue,
            path => file_stem(path)?,
        };
        if PYTHON_LAUNCHERS.contains(&launched.as_str()) {
            let mut plain = rest.filter(|argument| !argument.starts_with('-'));
            let application = plain.find_map(|argument| argument.split_once(':').filter(|(_, object)| is_name(object)));
            return Some(application.map_or(launched, |(module, _)| module.to_owned()));
        }
        return Some(launched);
    }
    None
}

/// Whether it can be an object of a module: not a port or a path.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn java(arguments: &[&str]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        match argument {
            "-jar" => return rest.next().and_then(|path| file_stem(path)),
            "-m" | "--module" => return rest.next().map(|module| class_name(module)),
            "-cp" | "-classpath" | "--class-path" | "-p" | "--module-path" | "--add-opens" | "--add-exports"
            | "--add-modules" | "--add-reads" => {
                rest.next();
            }
            option if option.starts_with('-') || option.starts_with('@') => {}
            class => return Some(class_name(class)),
        }
    }
    None
}

fn class_name(class: &str) -> String {
    class.rsplit(['.', '/']).next().unwrap_or(class).to_owned()
}

/// The first argument that is neither an option, nor its value, nor a subcommand.
fn script(arguments: &[&str], with_value: &[&str], subcommands: &[&str]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        if with_value.contains(&argument) {
            rest.next();
        } else if ["-e", "-c", "--eval", "-p", "--print", "-"].contains(&argument) {
            return None;
        } else if !argument.starts_with('-') && !subcommands.contains(&argument) {
            return file_stem(argument);
        }
    }
    None
}

fn base(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// `/srv/app.py` is `app`; a name that says nothing gives way to its folder's: `/srv/shop/index.js` is `shop`.
fn file_stem(path: &str) -> Option<String> {
    let name = base(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem });
    let folder = path.rsplit('/').nth(1).filter(|folder| !folder.is_empty() && *folder != ".");
    match (stem, folder) {
        ("index" | "__main__", Some(folder)) => Some(folder.to_owned()),
        ("", _) => None,
        (stem, _) => Some(stem.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cgroup;

    fn named(exe: &str, command: &str, environment: &[(&str, &str)]) -> String {
        let facts = ProcessFacts {
            exe: exe.to_owned(),
            comm: "main-thread".to_owned(),
            command: command.split(' ').map(str::to_owned).collect(),
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            cgroup: Cgroup::default(),
        };
        service_name(&facts).name
    }

    #[test]
    fn interpreters_give_way_to_what_they_run() {
        for (exe, command, expected) in [
            ("/usr/bin/python3.11", "python3 /srv/app.py --port 80", "app"),
            ("/usr/bin/python3.11", "python3 -X dev -u app.py", "app"),
            ("/usr/bin/python3.11", "python -m http.server 8000", "http.server"),
            ("/usr/bin/python3.11", "python3 /usr/local/bin/uvicorn shop:app --host 0.0.0.0", "shop"),
            ("/usr/bin/python3.11", "python3 -m gunicorn -b 0.0.0.0:80 shop.web:create", "shop.web"),
            ("/usr/bin/python3.11", "python3 -c pass", "python3.11"),
            ("/usr/lib/jvm/bin/java", "java -Xmx1g -cp a:b com.example.Main arg", "Main"),
            ("/usr/lib/jvm/bin/java", "java -Dx=y -jar /opt/orders.jar", "orders"),
            ("/usr/bin/node", "node --require ./trace.js server.js", "server"),
            ("/usr/bin/node", "node /srv/shop/index.js", "shop"),
            ("/usr/bin/node", "node -e 1", "node"),
            ("/usr/bin/bash", "bash ./deploy.sh", "deploy"),
            ("/usr/bin/dotnet", "dotnet Web.dll", "Web"),
            ("/usr/sbin/nginx", "nginx: worker process", "nginx"),
            ("/tmp/x (deleted)", "x", "x"),
            ("", "", "main-thread"),
        ] {
            assert_eq!(named(exe, command, &[]), expected, "{command}");
        }
    }

    #[test]
    fn the_environment_comes_first() {
        assert_eq!(named("/bin/x", "x", &[("OTEL_SERVICE_NAME", "cart")]), "cart");
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=the%20cart ,service.namespace=shop");
        assert_eq!(named("/bin/x", "x", &[attributes]), "the cart");
        assert_eq!(named("/bin/x", "x", &[("OTEL_SERVICE_NAME", ""), attributes]), "the cart");
        assert_eq!(named("/bin/x", "x", &[("OTEL_RESOURCE_ATTRIBUTES", "service.name=")]), "x");
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%41%é"), "%zzA%é");
    }
}
