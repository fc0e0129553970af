#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/data/datasets/emoji_font.h"
#include "plait/data/datasets/xml.h"

namespace plait::data {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& document) {
  try {
    parse_xml(document, "x.xml", {});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptData);
    EXPECT_THAT(error.what(), HasSubstr("x.xml"));
    return error.what();
  }
  ADD_FAILURE() << "was accepted: " << document.substr(0, 60);
  return "";
}

TEST(Xml, GivesElementsAttributesAndText) {
  std::string seen;
  XmlEvents events;
  events.start = [&](const std::string& name, const auto& attributes) {
    seen += "<" + name;
    for (const auto& [key, value] : attributes) seen += " " + key + "=" + value;
    seen += ">";
  };
  events.end = [&](const std::string& name) { seen += "</" + name + ">"; };
  events.text = [&](const std::string& text) { seen += text; };
  parse_xml("<?xml version='1.0'?><a x='1' y='&lt;'>\xe7\x8c\xab &amp; <b/></a>", "x.xml", events);
  EXPECT_EQ(seen, "<a x=1 y=<>\xe7\x8c\xab & <b></b></a>");
}

TEST(Xml, RefusesDamageAndAttacks) {
  error_of("");
  error_of("<a>");
  error_of("<a></b>");
  error_of("<a>\xff</a>");
  error_of("no xml");
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "<a>";
  EXPECT_THAT(error_of(deep), HasSubstr("256 levels"));
  std::string laughs = "<!DOCTYPE a [<!ENTITY x0 \"ha\">";
  for (int i = 1; i < 40; ++i) {
    std::string inner = "&x" + std::to_string(i - 1) + ";";
    laughs += "<!ENTITY x" + std::to_string(i) + " \"" + inner + inner + "\">";
  }
  error_of(laughs + "]><a>&x39;</a>");
}

TEST(Xml, NeverReadsOtherFiles) {
  std::string seen;
  XmlEvents events;
  events.text = [&](const std::string& text) { seen += text; };
  parse_xml("<!DOCTYPE a [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><a>&f;</a>", "x.xml", events);
  EXPECT_EQ(seen, "");
}

TEST(Xml, WhatAnEventThrowsPassesOn) {
  XmlEvents events;
  events.start = [](const std::string&, const auto&) {
    fail(ErrorCode::kInternal, "test", "thrown");
  };
  try {
    parse_xml("<a><b/></a>", "x.xml", events);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
  }
}

TEST(EmojiFont, RefusesWhatIsNoColourFont) {
  EXPECT_THROW(EmojiFont("/no/such/font.ttf"), Error);
  EXPECT_THROW(EmojiFont("/etc/hostname"), Error);
}

}  // namespace
}  // namespace plait::data
