/* gSOAP. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex. */
#include "soapH.h"
#include "Interop.nsmap"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void word(FILE *out, const char *name, const char *value) {
    fprintf(out, "%s %s", name, value ? "=" : "nil");
    for (; value && *value; value++) fprintf(out, "%02x", (unsigned char)*value);
    fputc('\n', out);
}

int ns__PutRecord(struct soap *soap, char *id, char *text, char *nothing, char *empty, char *blanks, char *amount,
                  char *left, char *mode, struct ns__PutRecordResponse *response) {
    FILE *out;
    if (mode && !strcmp(mode, "client"))
        return soap_sender_fault(soap, "the record is wrong", "<p:Problem xmlns:p=\"urn:omgate:interop\"><p:code>E42</p:code></p:Problem>");
    if (mode && !strcmp(mode, "server")) return soap_receiver_fault(soap, "the ledger is closed", NULL);
    out = fopen(getenv("SEEN"), "w");
    if (!out) return soap_receiver_fault(soap, "SEEN cannot be written", NULL);
    word(out, "id", id);
    word(out, "text", text);
    word(out, "nothing", nothing);
    word(out, "empty", empty);
    word(out, "blanks", blanks);
    word(out, "amount", amount);
    word(out, "left", left);
    fclose(out);
    response->seen = text;
    return SOAP_OK;
}

int main(void) {
    struct soap *soap = soap_new1(SOAP_C_UTFSTRING | SOAP_IO_KEEPALIVE);
    soap->bind_flags = SO_REUSEADDR;
    soap->recv_timeout = soap->send_timeout = 10;
    soap->accept_timeout = 300;
    if (!soap_valid_socket(soap_bind(soap, "127.0.0.1", atoi(getenv("PORT")), 100))) {
        soap_print_fault(soap, stderr);
        return 1;
    }
    while (soap_valid_socket(soap_accept(soap))) {
        soap_serve(soap);
        soap_destroy(soap);
        soap_end(soap);
    }
    return 0;
}
