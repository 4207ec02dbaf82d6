<?php
// Sends a message and waits for its end. PHP 8 or newer, no extension.

declare(strict_types=1);

const URL = 'http://127.0.0.1:8080';

function call(string $method, string $path, ?array $body = null, ?string $key = null): array
{
    $headers = ['Authorization: Bearer ' . getenv('TIDINGS_TOKEN'), 'Content-Type: application/json'];
    if ($key !== null) {
        $headers[] = 'Idempotency-Key: ' . $key;
    }
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => implode("\r\n", $headers),
        'content' => $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR),
        'timeout' => 10,
        'ignore_errors' => true, // read the body of errors too
    ]]);
    $text = file_get_contents(URL . $path, false, $context);
    if ($text === false) {
        throw new RuntimeException('no answer');
    }
    $answer = json_decode($text, true, 512, JSON_THROW_ON_ERROR);
    if (isset($answer['code'])) {
        throw new RuntimeException("{$answer['code']}: {$answer['detail']} {$answer['cure']}");
    }
    return $answer;
}

$message = call('POST', '/v1/messages', [
    'from' => '+15550001111',
    'to' => '+15550002222',
    'message' => 'Class starts at 18:00 today.',
    'reference' => 'class-5',
], bin2hex(random_bytes(16)));
echo $message['id'], ' ', $message['status'], PHP_EOL;

for ($asked = 0; in_array($message['status'], ['scheduled', 'queued', 'sending', 'sent'], true) && $asked < 150; $asked++) {
    usleep(200_000);
    $message = call('GET', '/v1/messages/' . $message['id']);
}
echo $message['id'], ' ', $message['status'], PHP_EOL;
exit($message['status'] === 'delivered' ? 0 : 1);
