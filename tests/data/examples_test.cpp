// Prompts and responses, and documents, as lines of JSON.
#include "data/examples.hpp"

#include <doctest/doctest.h>

#include "data/text_record.hpp"
#include "data/tokenize_case.hpp"

namespace sherd::data {
namespace {

using test::contains;
using test::Ids;
using test::Row;
using test::small_options;

struct Lines {
  test::TempFolder folder;
  Tokenizer tokenizer = test::small_tokenizer("qwen");
  std::string path;
  explicit Lines(const std::string& content) : path(folder.write("x.jsonl", content)) {}
  [[nodiscard]] TokenOptions options(std::int64_t length) const {
    return {length, 2600, tokenizer};
  }
  [[nodiscard]] std::string refusal() const {
    return test::message_of<DataError>([&] { (void)open_tokens({path}, options(8)); });
  }
};

const std::string two =
    R"({"prompt": "All human", "response": " beings\nare born", "id": [1, {"text": 2}]}

{"response": "égaux", "prompt": "Tous les êtres <|im_start|>"})";

/// Row of an example by the rules: prompt masked, one later, padded.
test::Sample expected(const Tokenizer& tokenizer, const std::string& prompt,
                      const std::string& response, std::size_t length) {
  Encoder encoder(tokenizer);
  Ids ids = test::encoded(encoder, prompt);
  const std::size_t masked = ids.size();
  encoder.encode(response, ids);
  ids.push_back(*tokenizer.end_of_document());
  test::Sample sample{Row(length, 0), Row(length, -100)};
  for (std::size_t i = 0; i < std::min(length, ids.size()); ++i) {
    sample.inputs[i] = static_cast<std::int32_t>(ids[i]);
    if (i + 1 >= masked && i + 1 < ids.size())
      sample.labels[i] = static_cast<std::int32_t>(ids[i + 1]);
  }
  return sample;
}

TEST_CASE("An example is a sample, its prompt and its padding are not counted") {
  const Lines lines(two);
  for (const std::int64_t length : {1, 3, 8, 64}) {
    const auto source = open_tokens({lines.path}, lines.options(length));
    REQUIRE(source->samples() == 2);
    const auto size = static_cast<std::size_t>(length);
    const test::Sample first = expected(lines.tokenizer, "All human", " beings\nare born", size);
    const test::Sample second =
        expected(lines.tokenizer, "Tous les êtres <|im_start|>", "égaux", size);
    CHECK(test::read_sample(*source, 0).inputs == first.inputs);
    CHECK(test::read_sample(*source, 0).labels == first.labels);
    CHECK(test::read_sample(*source, 1).inputs == second.inputs);
    CHECK(test::read_sample(*source, 1).labels == second.labels);
    source->check_tokens();
  }
}

TEST_CASE("Examples written by tokenize are the examples of the lines, in any number of shards") {
  std::string content;
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(i);
    content += R"({"prompt": "human )" + number + R"(", "response": ")" +
               std::string(static_cast<std::size_t>(i % 50), 'r') + "\"}\n";
  }
  const Lines lines(content);
  TokenizeOptions options =
      small_options({lines.path}, lines.folder.path() + "/out", lines.tokenizer);
  options.shard_tokens = 300;
  options.piece_bytes = 100;
  const Tokenized made = tokenize(lines.tokenizer, options);
  CHECK(made.examples);
  CHECK(made.documents == 200);
  CHECK(made.shards > 5);
  const auto held = open_tokens({lines.path}, lines.options(24));
  const auto written = open_tokens({options.out}, {24, 2600});
  REQUIRE(held->samples() == 200);
  REQUIRE(written->samples() == 200);
  CHECK(held->tokens() == written->tokens());
  written->check_tokens();
  for (std::uint64_t i = 0; i < 200; ++i) {
    CHECK(test::read_sample(*held, i).inputs == test::read_sample(*written, i).inputs);
    CHECK(test::read_sample(*held, i).labels == test::read_sample(*written, i).labels);
  }
  CHECK(contains(test::folder_refusal({options.out, lines.path}, {24, 2600}), "need one kind"));
}

TEST_CASE("Lines with text are documents, as files of that text would be") {
  const Lines lines("{\"text\": \"All human beings\"}\n{\"text\": \"are born\"}\n");
  const auto source = open_tokens({lines.path}, lines.options(2));
  Encoder encoder(lines.tokenizer);
  Ids want = test::encoded(encoder, "All human beings");
  want.push_back(*lines.tokenizer.end_of_document());
  encoder.encode("are born", want);
  want.push_back(*lines.tokenizer.end_of_document());
  REQUIRE(source->tokens() == want.size());
  CHECK(test::read_sample(*source, 1).inputs ==
        Row{static_cast<std::int32_t>(want[2]), static_cast<std::int32_t>(want[3])});
  const std::string first = lines.folder.write("d/1", "All human beings");
  lines.folder.write("d/2", "are born");
  const auto files = open_tokens({lines.folder.path() + "/d"}, lines.options(2));
  CHECK(files->tokens() == source->tokens());
  CHECK(test::read_sample(*files, 2).labels == test::read_sample(*source, 2).labels);
}

TEST_CASE("Lines that are wrong name file and byte") {
  CHECK(contains(Lines("{\"text\": \"a\"}\n{\"text\"").refusal(),
                 "x.jsonl: the line at byte 14: is not"));
  CHECK(contains(Lines("[1]").refusal(), "byte 0: is no JSON object"));
  CHECK(contains(Lines("7").refusal(), "is no JSON object"));
  CHECK(contains(Lines("\"text\"").refusal(), "is no JSON object"));
  CHECK(contains(Lines("{}").refusal(), "needs 'text', or 'prompt' and 'response'"));
  CHECK(contains(Lines("{\"prompt\": \"a\"}").refusal(), "needs 'text'"));
  CHECK(contains(Lines("{\"text\": \"a\", \"prompt\": \"b\"}").refusal(), "needs 'text'"));
  CHECK(contains(Lines("{\"text\": 5}").refusal(), "'text' that is no text"));
  CHECK(contains(Lines("{\"text\": {\"a\": \"b\"}}").refusal(), "'text' that is no text"));
  CHECK(contains(Lines("{\"text\": \"a\", \"text\": \"b\"}").refusal(), "the key 'text' twice"));
  CHECK(contains(Lines("{\"messages\": []}").refusal(), "chat template"));
  CHECK(contains(Lines("{\"text\": \"\xff\"}").refusal(), "is not valid JSON"));
  CHECK(contains(Lines("{\"text\": \"a\"}\n{\"prompt\": \"a\", \"response\": \"b\"}").refusal(),
                 "byte 14: has 'prompt' and 'response', need 'text' as before"));
  CHECK(contains(Lines("\n \n").refusal(), "got 0 tokens"));
  CHECK(parse_record("{\"x\": [[{\"text\": 1}]], \"text\": \"\\u00e9\"}", "line").text ==
        "\xc3\xa9");
}

TEST_CASE("Arrays of examples that do not belong together are refused") {
  const test::TempFolder folder;
  const auto array = [&](const char* name, const char* descr, const auto& values) {
    return TokenArray::open(
        folder.write(name, test::npy_1d(descr, values.size(), test::bytes_of(values))),
        TokenFormat::npy);
  };
  const auto open = [&](const std::vector<std::int32_t>& labels,
                        const std::vector<std::uint32_t>& starts) {
    return test::message_of<DataError>([&] {
      const std::vector<std::uint16_t> tokens{1, 2, 3, 4};
      std::vector<ExampleArrays> shards;
      shards.push_back({array("t.npy", "<u2", tokens), array("l.npy", "<i4", labels),
                        array("s.npy", "<u4", starts)});
      open_examples(std::move(shards), {2, 9})->check_tokens();
    });
  };
  CHECK(open({-100, 3, -100, -100}, {0, 2, 4}).empty());
  CHECK(contains(open({-100, 3, -100}, {0, 2, 4}), "does not belong"));
  CHECK(contains(open({-100, 3, -100, -100}, {0, 3, 2}), "example from 3 to 2"));
  CHECK(contains(open({-100, 3, -100, -100}, {0, 5}), "example from 0 to 5"));
  CHECK(contains(open({-100, 9, -100, -100}, {0, 4}), "has 9, need"));
  CHECK(contains(open({-100, 3, -100, -100}, {0}), "got no example"));
}

TEST_CASE("Text with a tokenizer is held up to 16 MiB, and tokens have none") {
  const Lines lines("{\"text\": \"a\"}");
  const std::string large = lines.folder.write("large.txt", "a");
  std::filesystem::resize_file(large, 16 * mib + 1);
  const auto refusal = [&](const std::string& path, const TokenOptions& options) {
    return test::message_of<DataError>([&] { (void)open_tokens({path}, options); });
  };
  CHECK(contains(refusal(large, lines.options(4)), "sherd data tokenize"));
  CHECK(contains(refusal(lines.path, {4, 2600}), "JSON lines, which need --tokenizer"));
  const std::string array = lines.folder.write(
      "a.npy", test::npy_1d("<u2", 3, test::bytes_of(std::vector<std::uint16_t>{1, 2, 3})));
  CHECK(contains(refusal(array, lines.options(2)), "holds tokens already"));
  CHECK(contains(refusal(lines.folder.write("b.txt", "abc"), {1, 2000, lines.tokenizer}),
                 "need at most the model's 2000"));
}

}  // namespace
}  // namespace sherd::data
