//! Sources: who may send by address, and paths with a secret.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_addresses_may_send_and_the_file_of_them_is_taken_when_it_changes() {
    let mut gateway = Process::prepare(&configuration("", "addresses_file = \"ip-ranges.json\""));
    let write = |networks: &str| {
        let text = format!(
            r#"{{"createDate":"2026-11-01","prefixes":[{{"provider":"aws","region":"eu","ip_prefix":[{networks}]}}]}}"#
        );
        fs::write(gateway.folder.path().join("ip-ranges.json"), text).unwrap();
    };
    write("\"203.0.113.0/24\"");
    let folder = gateway.folder.path().to_owned();
    gateway.start(&[]).await;
    for number in 0..5 {
        let answered = gateway.post("/om/orders", notice(number)).await.unwrap();
        assert_eq!((answered.status, answered.is_ack()), (403, false), "{answered:?}");
    }
    let looked = reqwest::get(format!("http://127.0.0.1:{}/om/orders", gateway.public)).await.unwrap();
    assert_eq!(looked.status().as_u16(), 403, "nothing is shown either");
    let refused = gateway.admin_until("/api/v1/refused", PATIENCE, |refused| refused[0].is_object()).await;
    assert_eq!(refused.as_array().unwrap().len(), 1, "one of each sender: {refused:#}");
    let reason = refused[0]["reason"].as_str().unwrap();
    assert!(reason.contains("127.0.0.1 is none of the source's addresses"), "{reason}");
    assert!(metrics(&gateway).await.contains("omgate_refused_total{source=\"orders\",reason=\"address\"} 6"));
    let told = gateway.log().lines().filter(|line| line.contains("turned away:")).count();
    assert_eq!(told, 1, "{}", gateway.log());

    let write = |networks: &str| {
        let text = format!(r#"{{"prefixes":[{{"ip_prefix":[{networks}]}}]}}"#);
        fs::write(folder.join("ip-ranges.json"), text).unwrap();
    };
    write("\"203.0.113.0/24\", \"127.0.0.0/8\"");
    gateway.admin_until("/api/v1/config", PATIENCE, |config| config["version"] == 2).await;
    assert!(gateway.post("/om/orders", notice(1)).await.unwrap().is_ack());
    // A file that is wrong lets nobody else in, and shuts nobody out.
    fs::write(folder.join("ip-ranges.json"), "{}").unwrap();
    gateway.admin_until("/api/v1/status", PATIENCE, |status| alarms(status).contains(&"reload")).await;
    assert!(gateway.post("/om/orders", notice(2)).await.unwrap().is_ack());
    // A plain list does as well, beside networks in the configuration.
    fs::write(folder.join("ip-ranges.json"), "# ours\n203.0.113.0/24\n").unwrap();
    gateway.configure(&configuration("", "addresses_file = \"ip-ranges.json\"\naddresses = [\"127.0.0.1\"]"));
    gateway.admin_until("/api/v1/config", PATIENCE, |config| config["version"] == 3).await;
    assert!(gateway.post("/om/orders", notice(3)).await.unwrap().is_ack());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_path_is_needed_to_send_and_shown_nowhere() {
    const SECRET: &str = "kx92hfQpZmw7Yb3LsecretT1";
    let path = "path = \"/om/${PATH_SECRET}/orders\"\nunknown_organization = \"refuse\"";
    let mut gateway = Process::prepare(&configuration("", path));
    gateway.start(&[("PATH_SECRET", SECRET)]).await;
    let right = format!("/om/{SECRET}/orders");
    assert!(gateway.post(&right, notice(1)).await.unwrap().is_ack());
    for wrong in
        ["/om//orders", "/om/${PATH_SECRET}/orders", "/om/orders", &right[..right.len() - 8], &format!("{right}/")]
    {
        let answered = gateway.post(&wrong.replace(['$', '{', '}'], "x"), notice(2)).await.unwrap();
        assert_eq!(answered.status, 404, "{wrong}");
    }
    assert_eq!(gateway.post(&right, "<not-an-envelope/>").await.unwrap().status, 500);
    gateway.admin_until("/api/v1/refused", PATIENCE, |refused| refused[0].is_object()).await;

    let mut shown = vec![("log", gateway.log())];
    for address in
        ["status", "config", "refused", "deliveries", "notifications", "deliveries/1", "gaps", "systems", "ledger"]
    {
        shown.push((address, gateway.admin(&format!("/api/v1/{address}")).await.to_string()));
    }
    shown.push(("metrics", metrics(&gateway).await));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(arguments)
            .arg("--config")
            .arg(gateway.config())
            .env("PATH_SECRET", SECRET)
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for arguments in [&["check"][..], &["status"], &["why", "1"], &["sources", "gaps"], &["deliveries", "list"]] {
        shown.push(("command", run(arguments)));
    }
    assert!(run(&["check"]).contains("/om/${PATH_SECRET}/orders"), "the reference is shown: {}", run(&["check"]));
    let page = reqwest::get(format!("http://127.0.0.1:{}/", gateway.admin)).await.unwrap().text().await.unwrap();
    shown.push(("page", page));
    gateway.stop().await;
    for name in ["omgate.db", "omgate.db-wal"] {
        let bytes = fs::read(gateway.folder.path().join(name)).unwrap_or_default();
        shown.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    for (place, text) in shown {
        assert!(!text.contains(SECRET), "{place}: {text}");
    }
}
