//! The console, as a browser without scripts sees it.

use crate::maker::Device;
use crate::person::{EMAIL, PASSWORD, PHONE, Person, enrol, fresh_challenge};
use crate::processes::Clouds;
use crate::snapshot_upload;
use http::header::{LOCATION, SET_COOKIE};
use http_link::{Client, Response};

const FORM: &str = "application/x-www-form-urlencoded";

struct Browser {
    client: Client,
    cookie: String,
}

impl Browser {
    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(path).header("cookie", &self.cookie).send_any().await;
        text(response.unwrap()).await
    }

    async fn post(&self, path: &str, site: &str, form: &str) -> Response {
        let request = self.client.post(path).header("cookie", &self.cookie);
        let request = request.header("content-type", FORM).header("sec-fetch-site", site);
        request.bytes(form.as_bytes().to_vec()).send_any().await.unwrap()
    }

    async fn sign_in(client: Client, password: &str) -> Result<Self, u16> {
        let browser = Self { client, cookie: String::new() };
        let form = format!("login={}&password={password}", EMAIL.replace('@', "%40"));
        let response = browser.post("/sign-in", "same-origin", &form).await;
        if response.status() != 303 {
            return Err(response.status().as_u16());
        }
        let cookie = response.header(&SET_COOKIE).unwrap().to_owned();
        for flag in ["__Host-", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Ok(Self { cookie, ..browser })
    }

    async fn csrf(&self) -> String {
        let (_, page) = self.get("/security").await;
        page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let bytes = response.bytes(1 << 20).await.unwrap();
    (status, String::from_utf8(bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_commands_its_devices_and_nobody_elses() {
    let clouds = Clouds::start();
    let client = clouds.cloud.client();
    let anna = Person::sign_up(&client, PHONE, EMAIL).await;
    let device = Device::made("HF-0042-0009");
    enrol(&clouds, &client, &device).await;
    let bound = anna.bind(device.attest(&fresh_challenge(&client).await)).await.unwrap();
    let link = crate::person::Link::open(&client, &bound.device_id, &device).await;
    let on = serde_json::json!({"enabled": true});
    link.post("/v1/devices/self/find").json(&on).send().await.unwrap();

    assert_eq!(Browser::sign_in(client.clone(), "wr0ng-one").await.err(), Some(403));
    let browser = Browser::sign_in(client.clone(), PASSWORD).await.unwrap();
    let (status, page) = browser.get("/devices").await;
    assert_eq!(status, 200);
    assert!(page.contains("Annas Telefon") && page.contains("Verified boot: green"));
    assert!(!page.contains("HF-0042-0009"), "serial numbers are masked");

    // Forms need the token, and must come from this origin.
    let sound = format!("/devices/{}/sound", bound.device_id);
    let csrf = browser.csrf().await;
    let form = format!("csrf={csrf}");
    for (site, form, status) in [
        ("same-origin", "csrf=wrong", 403),
        ("same-origin", "", 422),
        ("cross-site", &*form, 403),
        ("same-origin", &*form, 303),
    ] {
        let response = browser.post(&sound, site, form).await;
        assert_eq!(response.status(), status, "{site} {form}");
    }
    let (_, page) = browser.get(&format!("/devices/{}", bound.device_id)).await;
    assert_eq!(page.matches("on its way").count(), 1);
    let erase = format!("/devices/{}/erase", bound.device_id);
    let unsure = browser.post(&erase, "same-origin", &form).await;
    assert!(unsure.header(&LOCATION).unwrap().ends_with("/erase"), "asked again");

    // A cookie is no bearer token, nor the other way.
    let token = browser.cookie.split_once('=').unwrap().1.to_owned();
    assert_eq!(
        client.get("/v1/account").bearer(&token).send().await.err().unwrap().status(),
        Some(401)
    );
    let forged =
        Browser { client: client.clone(), cookie: format!("__Host-holdfast={}", anna.token) };
    assert_eq!(forged.get("/devices").await.0, 303);

    for path in ["/devices/none", "/devices/%27%20OR%201=1", "/devices/none/map.svg", "/nowhere"] {
        assert_eq!(browser.get(path).await.0, 404, "{path}");
    }
    let response = client.get("/devices").header("cookie", &browser.cookie).send().await.unwrap();
    let policy = response.header(&http::header::CONTENT_SECURITY_POLICY).unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("trusted-types 'none'"));
    assert!(!policy.contains("unsafe"));

    // Files: listed and opened for the owner, by the Key Center's leave.
    assert!(browser.get("/files").await.1.contains("Nothing is synced yet"));
    snapshot_upload::upload(&anna, &link).await;
    let (status, page) = browser.get("/files").await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("notes/") && page.contains("transit/decrypt/user-{{identity.sub}}"));
    let (_, folder) = browser.get("/files?at=bm90ZXM").await;
    let link = folder.split("/files/content?at=").nth(1).unwrap().split('"').next().unwrap();
    let request = client.get(&format!("/files/content?at={link}"));
    let response = request.header("cookie", &browser.cookie).send().await.unwrap();
    assert_eq!(response.bytes(8 << 20).await.unwrap(), snapshot_upload::content());
    assert_eq!(browser.get("/files?at=bm93aGVyZQ").await.0, 404);
    assert_eq!(browser.get("/files/content?at=ZW1wdHk").await.0, 404, "a folder is no file");

    let response = browser.post("/sign-out", "same-origin", &form).await;
    assert!(response.header(&SET_COOKIE).unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get("/devices").await.0, 303, "the old cookie opens nothing");
}
