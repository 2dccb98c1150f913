<?php
// PHP's SoapServer, in WSDL mode. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex.
// A wsse:Security header must hold the digest of PASSWORD.

const SECEXT = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd';

class Interop {
    // Called for the header of this name; it is understood because there is such a method.
    public function Security($security) {
        $token = $security->UsernameToken;
        $digest = base64_encode(sha1(base64_decode($token->Nonce) . $token->Created . getenv('PASSWORD'), true));
        if ($token->Username !== 'omgate' || !hash_equals($digest, (string) $token->Password)) {
            throw new SoapFault([SECEXT, 'FailedAuthentication'], 'the security token could not be authenticated');
        }
    }

    public function PutRecord($record) {
        if ($record->mode === 'client') {
            throw new SoapFault('Client', 'the record is wrong', null, ['code' => 'E42'], 'Problem');
        }
        if ($record->mode === 'server') {
            throw new SoapFault('Server', 'the ledger is closed');
        }
        $lines = '';
        foreach (['id', 'text', 'nothing', 'empty', 'blanks', 'amount', 'left'] as $name) {
            $value = property_exists($record, $name) ? $record->$name : false;
            $lines .= $name . ' ' . ($value === false ? 'absent' : ($value === null ? 'nil' : '=' . bin2hex($value))) . "\n";
        }
        file_put_contents(getenv('SEEN'), $lines);
        return ['seen' => $record->text];
    }
}

ini_set('soap.wsdl_cache_enabled', '0');
$version = getenv('SOAP_VERSION') === '1.2' ? SOAP_1_2 : SOAP_1_1;
$server = new SoapServer(__DIR__ . '/document.wsdl', ['soap_version' => $version]);
$server->setClass('Interop');
$server->handle();
