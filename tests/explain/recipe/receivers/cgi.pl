#!/usr/bin/perl
# A CGI script that reads a delivery in a wrong way. The path `/as/KIND` chooses how. The response
# says what the script has: the variables of the head in their CGI names, and the body.

use strict;
use warnings;
use CGI ();
use JSON ();
use MIME::Base64 ();

my ($kind) = ($ENV{PATH_INFO} // '') =~ m{/as/([a-z-]+)$};
my $cgi = CGI->new;

my %kinds = (
    'post-data'    => sub { $cgi->param('POSTDATA') // '' },
    'query-string' => sub { $cgi->query_string },
    # CGI.pm has consumed the body.
    'stdin-again'  => sub { local $/; <STDIN> // '' },
);

my $body = $kinds{$kind}->();
my @names = sort grep { /^(HTTP_|CONTENT_)/ } keys %ENV;
my $seen = {
    headers => [map { [$_, $ENV{$_}] } @names],
    body    => MIME::Base64::encode_base64($body, ''),
    url     => undef,
    method  => $ENV{REQUEST_METHOD},
};
print $cgi->header('application/json'), JSON->new->canonical->encode($seen);
