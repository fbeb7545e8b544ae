<?php
// A PHP script that reads a delivery in a wrong way. The path `/as/KIND` chooses how. The response
// says what the script has: the headers and the body.

$kind = basename(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$raw = file_get_contents('php://input');

// Middleware of frameworks trims the fields of forms and makes empty ones null.
$trimmed = array_map(fn ($value) => is_string($value) ? (trim($value) ?: null) : $value, $_POST);

$kinds = [
    'encode' => fn () => json_encode(json_decode($raw)),
    'encode-array' => fn () => json_encode(json_decode($raw, true)),
    'encode-pretty' => fn () => json_encode(json_decode($raw), JSON_PRETTY_PRINT),
    'encode-slashes' => fn () => json_encode(json_decode($raw), JSON_UNESCAPED_SLASHES),
    'encode-unicode' => fn () => json_encode(json_decode($raw), JSON_UNESCAPED_UNICODE),
    'encode-plain' => fn () => json_encode(
        json_decode($raw), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
    ),
    'encode-hex' => fn () => json_encode(
        json_decode($raw), JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS | JSON_UNESCAPED_SLASHES
    ),
    'form-build' => fn () => http_build_query($_POST),
    'form-trimmed' => fn () => http_build_query($trimmed),
    'form-json' => fn () => json_encode($_POST),
    'form-payload' => fn () => $_POST['payload'],
    'input' => fn () => $raw,
    'htmlspecialchars' => fn () => htmlspecialchars($raw),
    'htmlentities' => fn () => htmlentities($raw),
    'addslashes' => fn () => addslashes($raw),
    'stripslashes' => fn () => stripslashes($raw),
    'urlencode' => fn () => urlencode($raw),
    'rawurlencode' => fn () => rawurlencode($raw),
    'urldecode' => fn () => urldecode($raw),
    'utf8_encode' => fn () => mb_convert_encoding($raw, 'UTF-8', 'ISO-8859-1'),
    'utf8_decode' => fn () => mb_convert_encoding($raw, 'ISO-8859-1', 'UTF-8'),
    'trim' => fn () => trim($raw),
    'nl' => fn () => $raw . PHP_EOL,
    'base64' => fn () => base64_encode($raw),
    'base64-chunks' => fn () => chunk_split(base64_encode($raw)),
    'var_export' => fn () => var_export(json_decode($raw, true), true),
    'substr' => fn () => substr($raw, 0, 255),
    'mb_strimwidth' => fn () => mb_strimwidth($raw, 0, 200, '...'),
    'server' => fn () => $raw,
];

$headers = [];
if ($kind === 'server') {
    foreach ($_SERVER as $name => $value) {
        if (preg_match('/^(HTTP_|CONTENT_)/', $name)) {
            $headers[] = [$name, $value];
        }
    }
} else {
    foreach (getallheaders() as $name => $value) {
        $headers[] = [$name, $value];
    }
}

$body = $kinds[$kind]();
header('Content-Type: application/json');
echo json_encode([
    'headers' => $headers,
    'body' => base64_encode($body),
    'url' => null,
    'method' => $_SERVER['REQUEST_METHOD'],
], JSON_INVALID_UTF8_SUBSTITUTE);
