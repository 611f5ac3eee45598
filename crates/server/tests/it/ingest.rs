use http::Method;

use crate::harness::*;

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head =
            format!("--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.bin\"\r\n\r\n");
        body.extend(head.as_bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--BOUND--\r\n");
    body
}

const FORM: &str = "multipart/form-data; boundary=BOUND";

#[tokio::test]
async fn text_by_both_paths() {
    for path in ["/ingest", "/pyroscope/ingest"] {
        let server = start().await;
        let answer = server.post(&format!("{path}?name=shop.cpu&sampleRate=100"), "text/plain", "main;work 2\n").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        assert_eq!(server.stored(), [("anonymous".into(), "shop".into(), CPU.into(), 20_000_000)]);
    }
}

#[tokio::test]
async fn pprof_as_body_and_as_form() {
    let profile = cpu_profile(&[("main", 4)]);
    let bodies = [
        ("/ingest?name=shop&format=pprof", "application/octet-stream", profile.clone()),
        ("/ingest?name=shop", FORM, form(&[("profile", &profile)])),
        ("/ingest?name=shop", FORM, form(&[("sample_type_config", b"{}"), ("other", b"x"), ("profile", &profile)])),
    ];
    for (path, content_type, body) in bodies {
        let server = start().await;
        let answer = server.post(path, content_type, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.stored(), [("anonymous".into(), "shop".into(), CPU.into(), 4)]);
    }
}

#[tokio::test]
async fn what_is_wrong_decides_the_status() {
    let server = start().await;
    let profile = cpu_profile(&[("main", 4)]);
    let cut_form = &form(&[("profile", &profile)])[..80];
    for (path, content_type, body, status) in [
        ("/ingest", "text/plain", b"main 1".to_vec(), 400),
        ("/ingest?name=", "text/plain", b"main 1".to_vec(), 400),
        ("/ingest?name=a%7Bb", "text/plain", b"main 1".to_vec(), 400),
        ("/ingest?name=a&from=soon", "text/plain", b"main 1".to_vec(), 400),
        ("/ingest?name=a.cpu", "text/plain", b"main many".to_vec(), 400),
        ("/ingest?name=a.unknown", "text/plain", b"main 1".to_vec(), 400),
        ("/ingest?name=a&format=pprof", "", b"garbage".to_vec(), 422),
        ("/ingest?name=a&format=jfr", "", b"garbage".to_vec(), 422),
        ("/ingest?name=a", FORM, form(&[("profile", b"garbage")]), 422),
        ("/ingest?name=a", FORM, form(&[("profile", &profile), ("prev_profile", b"x")]), 422),
        ("/ingest?name=a", FORM, form(&[("something", b"x")]), 422),
        ("/ingest?name=a", FORM, cut_form.to_vec(), 422),
        ("/ingest?name=a&format=jfr", FORM, form(&[("profile", &profile)]), 422),
    ] {
        let answer = server.post(path, content_type, body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert_eq!(answer.code(), "invalid_argument", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(server.stored(), []);
}

#[tokio::test]
async fn only_post_is_ingest() {
    let server = start().await;
    for method in [Method::GET, Method::PUT] {
        assert_eq!(server.send(request(method, "/ingest?name=a", &[], "main 1")).await.status, 405);
    }
}
