<%@ WebService Language="C#" Class="Interop" %>
