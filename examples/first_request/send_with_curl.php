<?php
$request = curl_init('http://127.0.0.1:8080/v1/sms');
curl_setopt_array($request, [
    CURLOPT_POSTFIELDS => json_encode(['from' => '+15550001111', 'to' => '+15550002222', 'message' => 'Hello from our app']),
    CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . getenv('SMS_API_TOKEN'), 'Content-Type: application/json'],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 10,
]);
$answer = curl_exec($request);
$status = curl_getinfo($request, CURLINFO_HTTP_CODE);
echo $status, PHP_EOL, $answer, PHP_EOL;
exit($status === 202 ? 0 : 1);
