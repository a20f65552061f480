/* The peer of `cargo xtask bench attest`: `x509_loop FILE TIMES` verifies a chain (PEM, leaf first,
 * root last) so many times with OpenSSL's X509_verify_cert. As in a server the root is parsed once;
 * the other certificates come as bytes and are parsed each time. */

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 10 };

/* 2024-09-27: within the validity of recorded chains; ours begin before. */
static const time_t NOW = 1727395200;

static void fail(const char *what) {
    fprintf(stderr, "x509_loop: %s\n", what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 3) fail("x509_loop FILE TIMES");
    FILE *file = fopen(argv[1], "r");
    if (!file) fail(argv[1]);
    unsigned char *der[MOST];
    int length[MOST], count = 0;
    X509 *last = NULL, *read;
    while (count < MOST && (read = PEM_read_X509(file, NULL, NULL, NULL))) {
        der[count] = NULL;
        length[count] = i2d_X509(read, &der[count]);
        if (length[count] <= 0) fail("a certificate does not encode");
        X509_free(last);
        last = read;
        count++;
    }
    fclose(file);
    if (count < 2) fail("no chain");

    X509_STORE *store = X509_STORE_new();
    if (!store || !X509_STORE_add_cert(store, last)) fail("no store");
    for (long times = strtol(argv[2], NULL, 10); times > 0; times--) {
        X509 *certificate[MOST];
        STACK_OF(X509) *above = sk_X509_new_null();
        for (int i = 0; i < count - 1; i++) {
            const unsigned char *at = der[i];
            certificate[i] = d2i_X509(NULL, &at, length[i]);
            if (!certificate[i]) fail("a certificate does not parse");
            if (i > 0) sk_X509_push(above, certificate[i]);
        }
        X509_STORE_CTX *context = X509_STORE_CTX_new();
        if (!context || !X509_STORE_CTX_init(context, store, certificate[0], above))
            fail("no context");
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context), NOW);
        if (X509_verify_cert(context) != 1)
            fail(X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        X509_STORE_CTX_free(context);
        for (int i = 0; i < count - 1; i++) X509_free(certificate[i]);
        sk_X509_free(above);
    }
    return 0;
}
