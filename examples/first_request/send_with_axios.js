const axios = require("axios");

axios
  .post(
    "http://127.0.0.1:8080/v1/sms",
    { from: "+15550001111", to: "+15550002222", message: "Hello from our app" },
    { headers: { Authorization: `Bearer ${process.env.SMS_API_TOKEN}` }, timeout: 10000 },
  )
  .then((response) => {
    console.log(response.status);
    console.log(response.data);
  })
  .catch((error) => {
    // The body of a refusal says what is wrong and what to do.
    console.log(error.response ? error.response.data : error.message);
    process.exitCode = 1;
  });
