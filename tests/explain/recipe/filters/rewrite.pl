#!/usr/bin/perl
# Writes the body of the standard input anew with Perl. The argument chooses how.

use strict;
use warnings;
use CGI::Util ();
use JSON ();
use MIME::QuotedPrint ();
use Mojo::JSON ();
use Mojo::Util ();

binmode STDIN;
binmode STDOUT;
my $raw = do { local $/; <STDIN> };
my $text = $raw;
utf8::decode($text);

my %kinds = (
    'json'           => sub { JSON->new->utf8->canonical->encode(JSON->new->utf8->decode($raw)) },
    'json-pretty'    => sub { JSON->new->utf8->canonical->pretty->encode(JSON->new->utf8->decode($raw)) },
    'json-ascii'     => sub { JSON->new->ascii->canonical->encode(JSON->new->utf8->decode($raw)) },
    'mojo'           => sub { Mojo::JSON::encode_json(Mojo::JSON::decode_json($raw)) },
    'xml-escape'     => sub { Mojo::Util::xml_escape($raw) },
    'double-utf8'    => sub { utf8::encode($raw); $raw },
    'quoted-print'   => sub { MIME::QuotedPrint::encode_qp($raw) },
    'cgi-escape'     => sub { CGI::Util::escape($raw) },
    # Without a layer for the encoding, print writes Latin-1 where it can.
    'wide-character' => sub { utf8::downgrade($text, 1); utf8::is_utf8($text) ? $raw : $text },
    'chomp'          => sub { chomp $raw; $raw },
    'one-line'       => sub { join '', map { s/^\s+|\s+$//gr } split /\n/, $raw },
);
print $kinds{$ARGV[0]}->();
