// node-soap. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex.
const http = require('http');
const fs = require('fs');
const path = require('path');
const soap = require('soap');

const hex = (value) => '=' + Buffer.from(String(value), 'utf8').toString('hex');

function PutRecord(record, callback) {
  if (record.mode === 'client') {
    throw { Fault: { faultcode: 'soap:Client', faultstring: 'the record is wrong', detail: { Problem: { code: 'E42' } } } };
  }
  if (record.mode === 'server') {
    throw { Fault: { faultcode: 'soap:Server', faultstring: 'the ledger is closed' } };
  }
  const names = ['id', 'text', 'nothing', 'empty', 'blanks', 'amount', 'left'];
  const word = (value) => (value === undefined ? 'absent' : value === null ? 'nil' : hex(value));
  fs.writeFileSync(process.env.SEEN, names.map((name) => `${name} ${word(record[name])}\n`).join(''));
  callback({ seen: record.text });
}

const wsdl = fs.readFileSync(path.join(__dirname, 'document.wsdl'), 'utf8');
const server = http.createServer((request, response) => response.end());
server.listen(Number(process.env.PORT), '127.0.0.1', () => {
  const port = { PutRecord };
  const service = soap.listen(server, {
    path: '/interop',
    services: { Interop: { Interop11: port, Interop12: port } },
    xml: wsdl,
    // Without these it drops nil and makes a float of a decimal.
    handleNilAsNull: true,
    customDeserializer: { decimal: (text) => text },
  });
  // Without this it trims text; its servers hand on no such option.
  service.wsdl.options.preserveWhitespace = true;
  service.authenticate = (security) => {
    const token = security && security.UsernameToken;
    return !token || (token.Username === 'omgate' && (token.Password.$value || token.Password) === process.env.PASSWORD);
  };
});
