"""Encodes attestations with PyPI's pyasn1, from the schema as the Android Open Source Project
publishes it (Key and ID attestation), written down here a second time.

Standard input: a JSON array of attestations, with the names and forms of Google's verifier. Standard
output: a JSON array of their DER, base64.
"""

import base64
import json
import sys

from pyasn1.codec.der.encoder import encode
from pyasn1.type import namedtype, tag, univ


class Integers(univ.SetOf):
    componentType = univ.Integer()


class RootOfTrust(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("verifiedBootKey", univ.OctetString()),
        namedtype.NamedType("deviceLocked", univ.Boolean()),
        namedtype.NamedType("verifiedBootState", univ.Enumerated()),
        namedtype.OptionalNamedType("verifiedBootHash", univ.OctetString()),
    )


class Package(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("packageName", univ.OctetString()),
        namedtype.NamedType("version", univ.Integer()),
    )


class Packages(univ.SetOf):
    componentType = Package()


class Digests(univ.SetOf):
    componentType = univ.OctetString()


class ApplicationId(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("packageInfos", Packages()),
        namedtype.NamedType("signatureDigests", Digests()),
    )


SET, INT, NULL, TEXT, BYTES = "set", "integer", "null", "text", "bytes"
ORIGINS = ["GENERATED", "DERIVED", "IMPORTED", "RESERVED", "SECURELY_IMPORTED"]
STATES = ["VERIFIED", "SELF_SIGNED", "UNVERIFIED", "FAILED"]
LEVELS = ["SOFTWARE", "TRUSTED_ENVIRONMENT", "STRONG_BOX"]
TAGS = [
    (1, "purposes", SET), (2, "algorithms", INT), (3, "keySize", INT), (4, "blockModes", SET),
    (5, "digests", SET), (6, "paddings", SET), (7, "callerNonce", NULL), (8, "minMacLength", INT),
    (10, "ecCurve", INT), (11, "mlDsaVariant", INT), (200, "rsaPublicExponent", INT),
    (203, "rsaOaepMgfDigests", SET), (303, "rollbackResistance", NULL),
    (305, "earlyBootOnly", NULL), (400, "activeDateTime", INT),
    (401, "originationExpireDateTime", INT), (402, "usageExpireDateTime", INT),
    (405, "usageCountLimit", INT), (502, "userSecureId", INT), (503, "noAuthRequired", NULL),
    (504, "userAuthType", INT), (505, "authTimeout", INT), (506, "allowWhileOnBody", NULL),
    (507, "trustedUserPresenceRequired", NULL), (508, "trustedConfirmationRequired", NULL),
    (509, "unlockedDeviceRequired", NULL), (600, "allApplications", NULL),
    (601, "applicationId", BYTES), (701, "creationDateTime", INT), (702, "origin", ORIGINS),
    (703, "rollbackResistant", NULL), (704, "rootOfTrust", RootOfTrust), (705, "osVersion", INT),
    (706, "osPatchLevel", INT), (709, "attestationApplicationId", ApplicationId),
    (710, "attestationIdBrand", TEXT), (711, "attestationIdDevice", TEXT),
    (712, "attestationIdProduct", TEXT), (713, "attestationIdSerial", TEXT),
    (714, "attestationIdImei", TEXT), (715, "attestationIdMeid", TEXT),
    (716, "attestationIdManufacturer", TEXT), (717, "attestationIdModel", TEXT),
    (718, "vendorPatchLevel", INT), (719, "bootPatchLevel", INT),
    (720, "deviceUniqueAttestation", NULL), (721, "identityCredentialKey", NULL),
    (723, "attestationIdSecondImei", TEXT), (724, "moduleHash", BYTES),
]
TYPES = {
    SET: Integers, INT: univ.Integer, NULL: univ.Null, TEXT: univ.OctetString,
    BYTES: univ.OctetString, RootOfTrust: RootOfTrust, ApplicationId: univ.OctetString,
}


def explicit(kind, number):
    base = univ.Integer if kind is ORIGINS else TYPES[kind]
    context = tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number)
    return base().subtype(explicitTag=context)


class AuthorizationList(univ.Sequence):
    componentType = namedtype.NamedTypes(
        *(namedtype.OptionalNamedType(name, explicit(kind, number)) for number, name, kind in TAGS)
    )


class KeyDescription(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("attestationVersion", univ.Integer()),
        namedtype.NamedType("attestationSecurityLevel", univ.Enumerated()),
        namedtype.NamedType("keyMintVersion", univ.Integer()),
        namedtype.NamedType("keyMintSecurityLevel", univ.Enumerated()),
        namedtype.NamedType("attestationChallenge", univ.OctetString()),
        namedtype.NamedType("uniqueId", univ.OctetString()),
        namedtype.NamedType("softwareEnforced", AuthorizationList()),
        namedtype.NamedType("hardwareEnforced", AuthorizationList()),
    )


def fill(sequence, values):
    for name, value in values.items():
        sequence[name] = value
    return sequence


def octets(text):
    return base64.b64decode(text)


def root_of_trust(said, target):
    values = {
        "verifiedBootKey": octets(said["verifiedBootKey"]),
        "deviceLocked": said["deviceLocked"],
        "verifiedBootState": STATES.index(said["verifiedBootState"]),
    }
    if "verifiedBootHash" in said:
        values["verifiedBootHash"] = octets(said["verifiedBootHash"])
    return fill(target, values)


def application_id(said):
    made = ApplicationId()
    made["packageInfos"].extend(
        fill(Package(), {"packageName": it["name"].encode(), "version": int(it["version"])})
        for it in said["packages"]
    )
    made["signatureDigests"].extend(octets(it) for it in said["signatures"])
    return encode(made)


def authorizations(said):
    made = AuthorizationList()
    for _, name, kind in TAGS:
        if name not in said:
            continue
        value = said[name]
        if kind is SET:
            made[name].extend(int(it) for it in value)
        elif kind is INT:
            made[name] = int(value)
        elif kind is NULL:
            made[name] = ""
        elif kind is TEXT:
            made[name] = value.encode()
        elif kind is BYTES:
            made[name] = octets(value)
        elif kind is ORIGINS:
            made[name] = ORIGINS.index(value)
        elif kind is RootOfTrust:
            root_of_trust(value, made[name])
        else:
            made[name] = application_id(value)
    unknown = set(said) - {name for _, name, _ in TAGS}
    assert not unknown, unknown
    return made


def description(said):
    made = KeyDescription()
    made["attestationVersion"] = int(said["attestationVersion"])
    made["attestationSecurityLevel"] = LEVELS.index(said["attestationSecurityLevel"])
    made["keyMintVersion"] = int(said["keyMintVersion"])
    made["keyMintSecurityLevel"] = LEVELS.index(said["keyMintSecurityLevel"])
    made["attestationChallenge"] = octets(said["attestationChallenge"])
    made["uniqueId"] = octets(said["uniqueId"])
    made["softwareEnforced"] = authorizations(said["softwareEnforced"])
    made["hardwareEnforced"] = authorizations(said["hardwareEnforced"])
    return encode(made)


print(json.dumps([base64.b64encode(description(it)).decode() for it in json.load(sys.stdin)]))
