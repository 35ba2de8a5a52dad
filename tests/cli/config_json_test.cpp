#include "sherd/cli/config_json.hpp"

#include <doctest/doctest.h>

using namespace sherd;

namespace {

std::string problems_of(std::string_view text) {
  launch::RunConfig config;
  std::string all;
  for (const std::string& problem : cli::read_json(text, "run.json", config)) all += problem + "\n";
  return all;
}

}  // namespace

TEST_CASE("JSON values of the wrong type and unknown keys are all listed") {
  struct Row {
    const char* text;
    const char* problem;
  };
  const Row table[] = {
      {R"("zero_stag": 3)", R"("zero_stag": unknown key; did you mean zero_stage?)"},
      {R"("sharding": {"zero_stage": 3})", R"("sharding": unknown key)"},
      {R"("zero_stage": "3")", R"("zero_stage": got "3", need an integer from 0 to 3)"},
      {R"("ranks": 1.5)", R"("ranks": got 1.5, need an integer from 1 to 64)"},
      {R"("threads": 4294967297)", R"("threads": got 4294967297, need an integer from 0 to 1024)"},
      {R"("layers": 9223372036854775808)",
       R"("layers": got 9223372036854775808, need an integer from 0 to 1024)"},
      {R"("seed": -1)", R"("seed": got -1, need an integer of 0 or more)"},
      {R"("lr": null)", R"("lr": got null, need a number of 0 or more)"},
      {R"("beta1": "dynamic")", R"("beta1": got "dynamic", need a number in [0, 1))"},
      {R"("beta2": "")", R"("beta2": got "", need a number in [0, 1))"},
      {R"("loss_scale": "static")",
       R"("loss_scale": got "static", need dynamic or a number above 0)"},
      {R"("quiet": 1)", R"("quiet": got 1, need true or false)"},
      {R"("precision": "fp31")",
       R"("precision": got 'fp31', need one of fp32, bf16, fp16; did you mean fp32?)"},
      {R"("optimizer": 2)", R"("optimizer": got 2, need one of adamw, lion, sgd)"},
      {R"("data": "a.txt")", R"("data": got "a.txt", need a list of paths)"},
      {R"("val_data": ["a", 3])", R"("val_data": got ["a",3], need a list of paths)"},
      {R"("memory_limit": "2 gallons")",
       R"("memory_limit": got "2 gallons", need a size such as 512MiB)"},
      {R"("bucket_bytes": -1)",
       R"("bucket_bytes": got -1, need a size of 1 byte or more, such as 512MiB)"},
      {R"("log": 5)", R"("log": got 5, need FILE)"},
  };
  std::string whole;
  for (const Row& row : table) {
    CAPTURE(row.text);
    CHECK(problems_of("{" + std::string(row.text) + "}") ==
          "run.json: " + std::string(row.problem) + "\n");
    whole += whole.empty() ? '{' : ',';
    whole += row.text;
  }
  const std::string all = problems_of(whole + "}");
  for (const Row& row : table)
    CHECK(all.find("run.json: " + std::string(row.problem) + "\n") != std::string::npos);
}

TEST_CASE("malformed JSON is placed by line and column") {
  CHECK(problems_of("{\n  \"lr\": 1e-3,\n  \"steps\": }") ==
        "run.json: malformed JSON at line 3, column 12\n");
  CHECK(problems_of("") == "run.json: malformed JSON at line 1, column 1\n");
  CHECK(problems_of("{\"lr\": NaN}") == "run.json: malformed JSON at line 1, column 8\n");
  CHECK(problems_of("{} {}") == "run.json: malformed JSON at line 1, column 4\n");
  CHECK(problems_of("{\"lr\": 1e999}") == "run.json: malformed JSON: a number is out of range\n");
  CHECK(problems_of("[1]") == "run.json: need one JSON object, got array\n");
  CHECK(problems_of("{\"log\": \"\xff\"}").starts_with("run.json: malformed JSON at line 1"));
  CHECK(problems_of(std::string(100000, '[')).starts_with("run.json: malformed JSON at line 1"));
}

TEST_CASE("JSON nested deeper than any value is a problem and takes no stack") {
  const std::string many(500000, '[');
  CHECK(problems_of("{\"lr\": [[[[[[1]]]]]]}").starts_with("run.json: \"lr\": got [[[[[[1]]]]]]"));
  CHECK(problems_of("{\"lr\": " + many + std::string(many.size(), ']') + "}") ==
        "run.json: nested deeper than 8\n");
  CHECK(problems_of("{\"lr\": " + many).starts_with("run.json: malformed JSON at line 1, column"));
}

TEST_CASE("a key given twice is a problem") {
  CHECK(problems_of(R"({"lr": 1, "steps": 2, "lr": 3})") == "run.json: \"lr\": given twice\n");
}

TEST_CASE("printed JSON is sorted and keeps every double") {
  launch::RunConfig config;
  config.optimizer.lr = 0.1 + 0.2;
  config.optimizer.eps = 1e-300;
  const std::string text = cli::to_json(config);
  CHECK(text.find("\"backend\"") < text.find("\"beta1\""));
  CHECK(text.find("\"width\"") < text.find("\"zero_stage\""));
  launch::RunConfig again;
  CHECK(cli::read_json(text, "file", again).empty());
  CHECK(again.optimizer.lr == config.optimizer.lr);
  CHECK(again.optimizer.eps == config.optimizer.eps);
}
