// gSOAP's view of the service: what soapcpp2 makes the server of.
//gsoap ns service name: Interop
//gsoap ns service style: document
//gsoap ns service encoding: literal
//gsoap ns service namespace: urn:omgate:interop
//gsoap ns schema namespace: urn:omgate:interop
//gsoap ns schema form: qualified
typedef char *xsd__string;
typedef char *xsd__decimal;
struct SOAP_ENV__Detail { int __type; void *fault; _XML __any; };
//gsoap ns service method-action: PutRecord urn:omgate:interop/PutRecord
int ns__PutRecord(xsd__string id, xsd__string text, xsd__string nothing, xsd__string empty, xsd__string blanks,
                  xsd__decimal amount, xsd__string left, xsd__string mode,
                  struct ns__PutRecordResponse { xsd__string seen; } *response);
