import os

import requests

response = requests.post(
    "http://127.0.0.1:8080/v1/sms",
    json={"from": "+15550001111", "to": "+15550002222", "message": "Hello from our app"},
    headers={"Authorization": "Bearer " + os.environ["SMS_API_TOKEN"]},
    timeout=10,
)
print(response.status_code)
print(response.text)
response.raise_for_status()
