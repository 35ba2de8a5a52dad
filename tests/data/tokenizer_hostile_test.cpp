// Tokenizer files that are wrong, or ask for what cannot be done.
#include <doctest/doctest.h>

#include "data/tokenizer_case.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

using nlohmann::json;
using test::contains;

json small_file(const std::string& name = "gpt2") {
  return json::parse(test::content_of(test::tokenizer_fixture(name + ".json")));
}

std::string refusal(const std::string& text) {
  const std::string message =
      test::message_of<DataError>([&] { (void)Tokenizer(text, "tok.json"); });
  if (!message.empty()) CHECK(message.starts_with("tok.json: "));
  return message;
}

/// What a file that `change` changed is refused for.
template <class Change>
std::string refusal_with(const Change& change, const std::string& name = "gpt2") {
  json file = small_file(name);
  change(file);
  return refusal(file.dump());
}

TEST_CASE("A file that is there and good is read, alone or by its folder") {
  const test::TempFolder folder;
  CHECK(refusal_with([](json&) {}).empty());
  folder.write("tokenizer.json", small_file().dump());
  CHECK(Tokenizer(folder.path()).vocab_size() == 1814);
  const std::string missing =
      test::message_of<DataError>([&] { (void)Tokenizer(folder.path() + "/no.json"); });
  CHECK(contains(missing, "no.json: cannot be opened"));
}

TEST_CASE("Text that is no JSON, or no tokenizer, is refused") {
  CHECK(contains(refusal(""), "not valid JSON at byte"));
  CHECK(contains(refusal("{\"model\":"), "not valid JSON"));
  CHECK(contains(refusal("[]"), "no JSON object"));
  CHECK(contains(refusal("{}"), "needs model.vocab and model.merges"));
  CHECK(contains(refusal("{\"model\":{\"vocab\":{\"\xff\":1}}}"), "not valid JSON"));
  CHECK(contains(refusal("{\"a\":1,\"a\":2}"), "the key 'a' twice"));
  CHECK(contains(refusal(std::string(100, '[')), "nested deeper"));
  const std::string good = small_file().dump();
  for (std::size_t size = 0; size < good.size(); size += 977)
    CHECK_FALSE(refusal(good.substr(0, size)).empty());
}

TEST_CASE("Other models and steps are refused by name") {
  const auto changed = [](const char* pointer, const json& value, const char* file = "gpt2") {
    return refusal_with([&](json& tree) { tree[json::json_pointer(pointer)] = value; }, file);
  };
  CHECK(contains(changed("/model/type", "Unigram"), "got Unigram, need BPE"));
  CHECK(contains(changed("/model/dropout", 0.1), "model.dropout: got 0.1"));
  CHECK(contains(changed("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix: got </w>"));
  CHECK(contains(changed("/normalizer", {{"type", "Lowercase"}}), "normalizer: got Lowercase"));
  CHECK(contains(changed("/pre_tokenizer", {{"type", "Metaspace"}}), "got Metaspace"));
  CHECK(contains(changed("/pre_tokenizer", nullptr), "pre_tokenizer: got none"));
  CHECK(contains(changed("/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "\\w+"}}, "llama3"),
                 "got \\w+, need the regular expression of GPT-2, Llama 3 or Qwen"));
  CHECK(
      contains(changed("/pre_tokenizer/pretokenizers/0/behavior", "Removed", "llama3"), "Removed"));
  CHECK(contains(changed("/pre_tokenizer/pretokenizers/1/use_regex", true, "llama3"), "after a"));
  CHECK(contains(changed("/added_tokens/0/lstrip", true), "'<|endoftext|>': got lstrip"));
  CHECK(contains(changed("/added_tokens/0/id", 7), "gives '<|endoftext|>' the numbers 0 and 7"));
  CHECK(contains(changed("/added_tokens/0/id", -7), "needs a content and a number"));
  CHECK(contains(changed("/added_tokens/0/content", ""), "needs a content and a number"));
  CHECK(changed("/model/type", nullptr).empty());  // as old files of GPT-2 have it
  CHECK(changed("/normalizer", {{"type", "Sequence"}, {"normalizers", json::array()}}).empty());
}

TEST_CASE("Vocabularies and merges that do not hold together are refused") {
  const auto vocab = [](const char* token, const json& id) {
    return refusal_with([&](json& tree) { tree["model"]["vocab"][token] = id; });
  };
  CHECK(contains(vocab("zzz", 5), "gives the number 5 to"));
  CHECK(contains(vocab("zzz", 1e9), "has no whole number"));
  CHECK(contains(vocab("zzz", 4000000000u), "need less than 2097152"));
  CHECK(contains(vocab("zzz", -1), "has no whole number"));
  CHECK(contains(vocab("zzz", "x"), "no whole number"));
  CHECK(contains(vocab("zzz", json::object()), "no whole number"));
  CHECK(vocab("zzz", 4000).empty());  // numbers may have gaps
  CHECK(contains(refusal_with([](json& tree) { tree["model"]["vocab"].erase("Ā"); }),
                 "no token for byte 0,"));
  const auto merges = [](const json& one) {
    return refusal_with([&](json& tree) { tree["model"]["merges"][1] = one; });
  };
  CHECK(contains(merges("ab"), "number 1 is no pair"));
  CHECK(contains(merges("a b c"), "number 1 is no pair"));
  CHECK(contains(merges({"a", "b", "c"}), "number 1 is no pair"));
  CHECK(contains(merges(json::array({"a"})), "is no pair"));
  CHECK(contains(merges({"a", 1}), "is no pair"));
  CHECK(contains(merges(7), "is no pair"));
  CHECK(contains(merges({"q", "zzz"}), "not in the vocabulary"));
  CHECK(contains(merges({"日", "a"}), "not in the vocabulary"));
}

TEST_CASE("Random changes of a good file are read or refused, never worse") {
  const std::string good = small_file("llama3").dump();
  std::uint64_t state = 1;
  const auto random = [&](std::size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state >> 33) % below;
  };
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    std::string changed = good;
    for (int i = 0; i < 3; ++i) changed[random(changed.size())] = static_cast<char>(random(256));
    refused += refusal(changed).empty() ? 0 : 1;
  }
  CHECK(refused > 30);
}

}  // namespace
}  // namespace sherd::data
