// oidc-provider with its own pages to log in and to agree; everybody has the role that is their name.
const { Provider } = await import(`file://${process.env.PACKAGES}/oidc-provider/lib/index.js`);
const { PORT, BACK, SECRET } = process.env;

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: 'omgate',
    client_secret: SECRET,
    redirect_uris: [BACK],
    grant_types: ['authorization_code'],
    response_types: ['code'],
  }],
  claims: { openid: ['sub', 'preferred_username', 'realm_access'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: `Mx ${id}`, realm_access: { roles: [id] } }),
  }),
  pkce: { required: () => true },
});
provider.listen(Number(PORT), '127.0.0.1');
