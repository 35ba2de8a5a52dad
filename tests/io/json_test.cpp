#include "sherd/io/json.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

std::string refusal(const std::string& text, const JsonLimits& limits = {}) {
  const test::TempFolder folder;
  const File file(folder.write("bad.json", text));
  const std::string message = test::message_of<DataError>([&] { (void)read_json(file, limits); });
  CHECK(test::contains(message, "bad.json: "));
  return message;
}

TEST_CASE("Plain JSON is read") {
  const test::TempFolder folder;
  const File file(folder.write("a.json", R"({"a": [1, 2.5, {"a": null}], "b": "x"})"));
  const nlohmann::json value = read_json(file);
  CHECK(value["a"][1].get<double>() == 2.5);
  CHECK(value["b"] == "x");
}

TEST_CASE("A key given twice in one object is refused") {
  CHECK(test::contains(refusal(R"({"a": 1, "b": {"a": 1}, "a": 2})"), "'a' twice"));
  CHECK(test::contains(refusal(R"([{"a": {"k": 1, "k": 1}}])"), "'k' twice"));
}

TEST_CASE("Deep nesting and many values are refused while they are read") {
  CHECK(test::contains(refusal(std::string(1000000, '[')), "nested deeper"));
  std::string many = "[0";
  for (int i = 0; i < 200; ++i) many += ",0";
  CHECK(test::contains(refusal(many + "]", {.bytes = mib, .values = 100, .depth = 5}),
                       "more than 100"));
  CHECK(test::contains(refusal("[1,2,3]", {.bytes = 3, .values = 9, .depth = 9}), "at most 3"));
}

TEST_CASE("Text that is no JSON is refused with its position") {
  CHECK(test::contains(refusal("{\"a\": 1,}"), "at byte 8"));
  CHECK(test::contains(refusal(""), "valid JSON"));
  CHECK(test::contains(refusal("{} {}"), "at byte 3"));
  CHECK(test::contains(refusal("\"\xff\""), "valid JSON"));
  CHECK(test::contains(refusal("[1e999]"), "cannot be used"));
}

}  // namespace
}  // namespace sherd::io
