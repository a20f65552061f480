"""hvac against the Key Center: url, CA file and credential file are the arguments."""

import base64
import json
import sys

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

url, ca, credential = sys.argv[1:]
with open(credential, encoding="utf-8") as file:
    role = json.load(file)


def b64(data):
    return base64.b64encode(data).decode()


def refused(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{call.__name__} {args} {kwargs} was not refused")


client = hvac.Client(url=url, verify=ca)
assert client.sys.is_initialized()
assert not client.sys.is_sealed()
assert client.sys.read_health_status(method="GET")["initialized"]
assert not client.is_authenticated()
refused(InvalidRequest, client.auth.approle.login, role["role_id"], "wrong")
client.auth.approle.login(role["role_id"], role["secret_id"])
assert client.is_authenticated()
assert client.auth.token.lookup_self()["data"]["policies"] == ["default", "cloud"]
client.auth.token.renew_self()

transit = client.secrets.transit
refused(InvalidPath, transit.list_keys)
# hvac's own list of key types is older than these two.
client.write_data("transit/keys/pii", data={"type": "aes128-gcm96"})
client.write_data("transit/keys/pii-index", data={"type": "hmac"})
transit.create_key("user-1", key_type="aes256-gcm96")
assert transit.list_keys()["data"]["keys"] == ["pii", "pii-index", "user-1"]
assert transit.read_key("pii")["data"]["type"] == "aes128-gcm96"

sealed = transit.encrypt_data("pii", plaintext=b64(b"text"))["data"]["ciphertext"]
assert sealed.startswith("vault:v1:")
assert transit.decrypt_data("pii", ciphertext=sealed)["data"]["plaintext"] == b64(b"text")
bound = transit.encrypt_data("pii", plaintext=b64(b"text"), associated_data=b64(b"row"))
bound = bound["data"]["ciphertext"]
refused(InvalidRequest, transit.decrypt_data, "pii", ciphertext=bound)
opened = transit.decrypt_data("pii", ciphertext=bound, associated_data=b64(b"row"))
assert opened["data"]["plaintext"] == b64(b"text")
batch = transit.encrypt_data("pii", batch_input=[{"plaintext": b64(b"1")}, {"plaintext": b64(b"2")}])
batch = batch["data"]["batch_results"]
opened = transit.decrypt_data("pii", batch_input=[{"ciphertext": i["ciphertext"]} for i in batch])
assert [i["plaintext"] for i in opened["data"]["batch_results"]] == [b64(b"1"), b64(b"2")]
again = transit.rewrap_data("pii", ciphertext=sealed)["data"]["ciphertext"]
assert again != sealed

tag = transit.generate_hmac("pii-index", hash_input=b64(b"x"), algorithm="sha2-256")["data"]["hmac"]
checked = transit.verify_signed_data("pii-index", hash_input=b64(b"x"), hmac=tag)
assert checked["data"]["valid"]

key = transit.generate_data_key("pii", key_type="plaintext", bits=256)["data"]
assert transit.decrypt_data("pii", ciphertext=key["ciphertext"])["data"]["plaintext"] == key["plaintext"]
assert "plaintext" not in transit.generate_data_key("pii", key_type="wrapped")["data"]
assert len(base64.b64decode(transit.generate_random_bytes(n_bytes=48)["data"]["random_bytes"])) == 48
refused(Forbidden, transit.generate_data_key, "user-1", key_type="plaintext")
refused(Forbidden, transit.encrypt_data, "user-1", plaintext=b64(b"x"))

transit.rotate_key("user-1")
assert transit.read_key("user-1")["data"]["latest_version"] == 2
refused(InvalidRequest, transit.delete_key, "user-1")
transit.update_key_configuration("user-1", deletion_allowed=True)
transit.delete_key("user-1")
refused(InvalidPath, transit.read_key, "user-1")
assert transit.list_keys()["data"]["keys"] == ["pii", "pii-index"]

client.auth.token.revoke_self()
assert not client.is_authenticated()
