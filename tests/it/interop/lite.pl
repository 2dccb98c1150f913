# Perl's SOAP::Lite: rpc/encoded. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex.
use strict;
use warnings;
use SOAP::Transport::HTTP;

package Interop;

sub word {
    my ($record, $name) = @_;
    return 'absent' unless exists $record->{$name};
    return 'nil' unless defined $record->{$name};
    my $bytes = $record->{$name};
    utf8::encode($bytes) if utf8::is_utf8($bytes);
    return '=' . unpack('H*', $bytes);
}

sub PutRecord {
    my ($class, $record, $mode) = @_;
    die SOAP::Fault->faultcode('Client')->faultstring('the record is wrong')->faultdetail({ code => 'E42' })
        if $mode eq 'client';
    die SOAP::Fault->faultcode('Client.Authentication')->faultstring('nobody of that name') if $mode eq 'security';
    die "the ledger is closed\n" if $mode eq 'server';
    my %words = (%$record, words => join('|', @{ $record->{words} || [] }));
    open(my $out, '>', $ENV{SEEN}) or die "SEEN: $!";
    print $out "$_ ", word(\%words, $_), "\n" for qw(id text nothing empty blanks amount left words);
    close($out);
    # Left to itself it answers what is not ASCII as xsd:base64Binary.
    my %answer = (%$record, text => SOAP::Data->type(string => $record->{text}));
    return SOAP::Data->name('seen')->value(\%answer);
}

package main;

my $daemon = SOAP::Transport::HTTP::Daemon->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT}, ReuseAddr => 1);
$daemon->dispatch_with({ 'urn:omgate:interop' => 'Interop' });
$daemon->handle;
