//! Control groups: which container and which unit a process belongs to.

/// What `/proc/PID/cgroup` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Container id: 64 hex digits, or 32 and a task number on ECS.
    pub container_id: Option<String>,
    /// Uid of the pod, with dashes.
    pub pod_uid: Option<String>,
    /// Name of the systemd service without `.service`; none for sessions and the managers of users.
    pub service_unit: Option<String>,
}

impl Cgroup {
    /// Reads the text of `/proc/PID/cgroup`: lines `number:controllers:path`, version 2 is `0::path`.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for path in text.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
            let elements = || path.split('/').filter(|element| !element.is_empty());
            // From the right: containers in containers have the innermost last, then parts like `init`.
            let container = || elements().rev().find_map(container_id).map(str::to_owned);
            found.container_id = found.container_id.or_else(container);
            found.pod_uid = found.pod_uid.or_else(|| elements().rev().find_map(pod_uid));
            let unit = || elements().rev().find_map(service_unit).map(str::to_owned);
            found.service_unit = found.service_unit.or_else(unit);
        }
        found
    }
}

fn container_id(element: &str) -> Option<&str> {
    let name = element.strip_suffix(".scope").unwrap_or(element);
    // docker-, cri-containerd-, crio-, libpod-, and whatever else puts its name first.
    let last = name.rsplit_once('-').map_or(name, |(_, last)| last);
    if is_hex(last, 64) {
        return Some(last);
    }
    let (task, number) = name.split_once('-')?;
    (is_hex(task, 32) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn pod_uid(element: &str) -> Option<String> {
    let name = element.strip_suffix(".slice").unwrap_or(element);
    let uid = name.rsplit_once("pod")?.1.replace('_', "-");
    let is_uid = uid.len() == 36 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (is_uid || is_hex(&uid, 32)).then_some(uid)
}

fn service_unit(element: &str) -> Option<&str> {
    let name = element.strip_suffix(".service")?;
    // user@1000.service holds everything that the user runs.
    (!name.is_empty() && !name.starts_with("user@")).then(|| name.split_once('@').map_or(name, |(unit, _)| unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containers_are_found_in_the_paths_of_all_runtimes() {
        let of = |path: &str| Cgroup::parse(&format!("12:cpu:/\n0::{path}\n"));
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/kubelet/kubepods/besteffort/pod0123/{ID}/init"),
            format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope"),
        ] {
            assert_eq!(of(&path).container_id.as_deref(), Some(ID), "{path}");
        }
        let task = "0123456789abcdef0123456789abcdef-42";
        assert_eq!(of(&format!("/ecs/x/{task}")).container_id.as_deref(), Some(task));
        assert_eq!(of("/user.slice/session-3.scope").container_id, None);
    }

    #[test]
    fn pods_and_units_have_names() {
        let pod = "/kubepods.slice/kubepods-pod6f0a1c1e_1111_2222_3333_444455556666.slice/x";
        let uid = Cgroup::parse(&format!("0::{pod}")).pod_uid;
        assert_eq!(uid.as_deref(), Some("6f0a1c1e-1111-2222-3333-444455556666"));
        let unit = |path: &str| Cgroup::parse(&format!("1:name=systemd:{path}")).service_unit;
        assert_eq!(unit("/system.slice/nginx.service").as_deref(), Some("nginx"));
        assert_eq!(
            unit("/system.slice/system-postgresql.slice/postgresql@15-main.service").as_deref(),
            Some("postgresql")
        );
        assert_eq!(unit("/user.slice/user-1000.slice/user@1000.service/app.slice"), None);
    }
}
